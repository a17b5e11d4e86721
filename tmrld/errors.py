"""Every exception that tmrld raises on purpose.  A message says what happened, what was expected, and what to do next.

::

    TmrldError
    ├── BadInput               somebody gave us a value we cannot use
    │   ├── SettingsError        a setting is unknown, of the wrong type or out of range
    │   ├── WorldError           an environment, track or interface cannot be made as asked
    │   └── WeightsError         a weights file is damaged, or made for other spaces
    ├── NotFound               the thing that was named does not exist
    ├── Conflict               the thing exists, but its state forbids what was asked
    ├── ProtocolError          the peer sent something the protocol does not allow; the link is closed with its code
    ├── GameError              the game, its window, its plugin or the controls cannot be reached, or were lost
    ├── LinkError              a connection could not be made or was lost
    │   ├── Refused              the other side said no (token, key, version, role): trying again will not help
    │   └── LinkLost             the line broke: trying again will
    │       └── Replaced           another link of this node's name took its place
    ├── StorageError           a file could not be read or written
    │   ├── FolderInUse          another daemon holds the data folder
    │   ├── DiskFull             no room: collection stops until there is
    │   └── Damaged              a stored file does not match its checksum
    └── EngineError            an engine process crashed, hung, or reported a failure of its own
        ├── PipeFull             the daemon does not read what the engine has to say
        └── DaemonGone           the daemon of this engine ended; the engine ends too

Callers act on the types; people read the messages.  The command line prints the message alone, without a traceback.
"""


class TmrldError(Exception):
    """Base of all errors of this project; ``str(error)`` is a whole sentence for the user."""


class BadInput(TmrldError):
    """A value given by a person, a file or a program cannot be used."""


class SettingsError(BadInput):
    """A setting is unknown, of the wrong type, or out of range; names the key."""


class WorldError(BadInput):
    """An environment, a track or an interface cannot be made as asked."""


class WeightsError(BadInput):
    """A weights file is damaged, of an unknown format, or made for other spaces."""


class NotFound(TmrldError):
    """The run, node, weights version or track that was named does not exist."""


class Conflict(TmrldError):
    """The request is sound, but the state of its object forbids it."""


class GameError(TmrldError):
    """The game, its window, the plugin in it or the controls cannot be reached, or were lost while driving."""


class ProtocolError(TmrldError):
    """The peer broke the protocol.

    ``code`` is the WebSocket close code to send (RFC 6455, section 7.4: 1002, 1003, 1007, 1008, 1009 or 4000 to 4999).
    """

    def __init__(self, reason: str, code: int = 1002) -> None:
        super().__init__(reason)
        self.code = code


class LinkError(TmrldError):
    """A connection to another node could not be made, or was lost."""


class Refused(LinkError):
    """The other side, or our own check of it, said no for good: wrong token, key, version, role or name."""


class LinkLost(LinkError):
    """The line broke or could not be made for now; the dialer tries again."""


class Replaced(LinkLost):
    """The relay has let go of this link, because there is a newer one of this node's name."""


class StorageError(TmrldError):
    """A file or folder could not be read or written."""


class FolderInUse(StorageError):
    """Another daemon holds the data folder."""


class DiskFull(StorageError):
    """There is no room left, or the quota is used up."""


class Damaged(StorageError):
    """A stored file fails its checksum or is cut short."""


class EngineError(TmrldError):
    """An engine process crashed, hung, or could not do what it was asked."""


class PipeFull(EngineError):
    """The queue of an engine towards its daemon is full; nothing was sent, and the sender still has what it wanted to send."""


class DaemonGone(EngineError):
    """The daemon of this engine has ended or let go of it, so the engine must end as well."""
