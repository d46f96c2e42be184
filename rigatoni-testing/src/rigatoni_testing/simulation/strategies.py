"""Hypothesis strategies for schedules: they explore other schedules than random seeds, and shrink."""

from hypothesis import strategies as st

from rigatoni_testing.simulation.schedule import (
    KINDS,
    MAX_BATCH_BYTES,
    STREAMS,
    Fault,
    Happening,
    Life,
    ObjectLayout,
    Schedule,
    Server,
    WorldEvent,
)

_SECONDS = st.integers(0, 120).map(float)

_LIVES = st.builds(
    Life,
    begins=_SECONDS,
    ends=st.integers(1, 90).map(float),
    batch_size=st.sampled_from([1, 3, 7, 20, 50]),
    batch_bytes=st.sampled_from([300, 800, MAX_BATCH_BYTES]),
    batch_timeout=st.sampled_from([1.0, 5.0, 20.0]),
    killed=st.booleans(),
    twice=st.booleans(),
    upgraded=st.booleans(),
    once=st.booleans(),
)


def _faults(lives: int) -> st.SearchStrategy[Fault]:
    def of_server(server: Server) -> st.SearchStrategy[Fault]:
        return st.builds(
            Fault,
            life=st.integers(0, lives - 1),
            server=st.just(server),
            number=st.integers(1, 60),
            kind=st.sampled_from(KINDS[server]),
            seconds=st.sampled_from([0.5, 3.0, 15.0, 30.0]),
        )

    return st.sampled_from(Server).flatmap(of_server)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Returns any schedule that the model allows."""
    chain = draw(st.booleans())
    leases = not chain or draw(st.booleans())
    lives = draw(st.lists(_LIVES, min_size=1, max_size=4))
    events = [WorldEvent.RECORD_DAMAGED]
    if leases:
        events.append(WorldEvent.HISTORY_ROLLS)
    if chain:
        events += [
            WorldEvent.STATE_LOST,
            WorldEvent.STATE_RESTORED,
            WorldEvent.FOREIGN_OBJECT,
            WorldEvent.DEFINITION_LOST,
        ]
    happenings = st.builds(Happening, at=_SECONDS, stream=st.sampled_from(STREAMS), event=st.sampled_from(events))
    return Schedule(
        draw(st.integers(0, 2**32)),
        keeps_chain=chain,
        keeps_leases=leases,
        layout=draw(st.sampled_from(ObjectLayout)) if chain else ObjectLayout.ONE,
        carries_records=not chain or draw(st.booleans()),
        folds_case=chain and draw(st.booleans()),
        poisoned=draw(st.booleans()),
        restart_from_now=draw(st.booleans()),
        lives=tuple(lives),
        faults=tuple(draw(st.lists(_faults(len(lives)), max_size=6))),
        happenings=tuple(draw(st.lists(happenings, max_size=2))),
    )
