"""The folder of a run in which its agents read and write, and out of which they cannot."""

from .snapshots import Change as Change
from .snapshots import Entry as Entry
from .snapshots import Snapshot as Snapshot
from .workspace import Workspace as Workspace
from .workspace import WorkspaceFile as WorkspaceFile
