"""The doctor: looks at a machine, its network and the game, says in plain words what is wrong, and what mends it.

Evidence first, judgement after.  A ``gather_…`` function takes a look: it is thin, may find that a look fails, and never raises, for
what failed is evidence, too.  A ``judge_…`` function is pure: evidence → diagnoses.  So what was seen can be kept in a file
(`report`), sent to somebody else, and judged again.
"""
