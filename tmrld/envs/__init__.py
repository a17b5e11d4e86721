"""The worlds to drive in.  Importing this registers their Gymnasium ids, as strings: nothing else is loaded.

A relay reads the options in this room but has no Gymnasium; there, nothing is registered.
"""

from importlib.util import find_spec

if find_spec("gymnasium") is not None:
    import gymnasium

    for id in ("tmrld/TM20Full-v0", "tmrld/TM20Lidar-v0", "tmrld/TM20LidarProgress-v0"):
        if id not in gymnasium.registry:  # a reload registers once
            gymnasium.register(id, entry_point="tmrld.envs.registry:tm20", kwargs={"id": id})
