"""How help is laid out: paragraphs as wide as the terminal, in plain text, which needs no parser of Markdown."""

from typing import TYPE_CHECKING, Any

from cyclopts.help import DefaultFormatter, HelpPanel, InlineText

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

__all__ = ["Flowing"]


class Flowing(DefaultFormatter):
    """Cyclopts' own pages, with the line ends of docstrings taken out of paragraphs."""

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: HelpPanel) -> None:
        """Print a panel."""
        entries = [entry.copy(description=_flowing(entry.description)) for entry in panel.entries]
        super().__call__(console, options, panel.copy(entries=entries))

    def render_description(self, console: "Console", options: "ConsoleOptions", description: Any) -> None:
        """Print what a command does."""
        super().render_description(console, options, _flowing(description))


def _flowing(text: Any) -> Any:
    """The same, if it is text of paragraphs."""
    from rich.text import Text

    if not (isinstance(text, InlineText) and isinstance(text.primary_renderable, Text)):
        return text
    paragraphs = (" ".join(part.split()) for part in text.primary_renderable.plain.split("\n\n"))
    made = InlineText(Text("\n\n".join(paragraphs)), force_empty_end=text.force_empty_end)
    made.texts = text.texts
    return made
