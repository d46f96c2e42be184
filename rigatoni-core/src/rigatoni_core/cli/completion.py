"""`rigatoni completion`: what a shell needs to complete the command."""

import click

from rigatoni_core.cli.output import say


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Prints the script that lets SHELL complete commands, options and files.

    \b
    bash  rigatoni completion bash >> ~/.bashrc
    zsh   rigatoni completion zsh >> ~/.zshrc
    fish  rigatoni completion fish > ~/.config/fish/completions/rigatoni.fish
    """
    from click.shell_completion import get_completion_class

    from rigatoni_core.cli.app import rigatoni

    made = get_completion_class(shell)
    assert made is not None
    say(made(rigatoni, {}, "rigatoni", "_RIGATONI_COMPLETE").source())
