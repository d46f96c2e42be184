//! Builds raw BSON for the unit tests.

/// A document of these elements.
pub fn document(elements: &[Vec<u8>]) -> Vec<u8> {
    let content = elements.concat();
    let size = i32::try_from(content.len() + 5).unwrap();
    [&size.to_le_bytes()[..], &content, &[0]].concat()
}

/// An element: its type, its name and its value.
pub fn element(kind: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[kind][..], name, &[0], value].concat()
}

/// The value of a string: its length, its bytes and a zero.
pub fn text(text: &[u8]) -> Vec<u8> {
    let size = i32::try_from(text.len() + 1).unwrap();
    [&size.to_le_bytes()[..], text, &[0]].concat()
}
