"""Files that systems and programs leave between a user's own: hidden ones, thumbnails, resource forks, checkpoints."""

from __future__ import annotations

from pathlib import PurePosixPath

_SYSTEM = {
    *("__macosx", "icon\r", "network trash folder", "temporary items"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("@eadir", "@recycle", "#recycle", "#snapshot", "lost+found"),
    *("__pycache__", "_temporary"),
}


def hidden_part(name: str) -> str | None:
    """The first part of a relative name that is hidden or of the system, or None; `._x.png` counts as `._*`.

    >>> hidden_part("cat/.ipynb_checkpoints/1-checkpoint.png"), hidden_part("cat/._1.png"), hidden_part("cat/1.png")
    ('.ipynb_checkpoints', '._*', None)
    """
    for part in PurePosixPath(name).parts:
        if part.startswith("._"):
            return "._*"
        if part.startswith((".", "~$")) or part.casefold() in _SYSTEM:
            return part.strip()
    return None
