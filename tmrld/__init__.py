"""tmrld trains an AI to control something in real time: a car in TrackMania 2020, a robot, any real-time program.

Importing this package runs nothing.  ``tmrld.envs`` registers the Gymnasium environments, ``tmrld.cli`` is the program.
"""

__version__ = "0.1.0"
