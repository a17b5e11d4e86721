"""What all answers share.  They are made from the views of `tmrld.node`, field by field.

Times are seconds since 1970 by the relay's clock.  A number that is NaN or infinite is null.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FromView(BaseModel):
    """An answer that is made from a view."""

    model_config = ConfigDict(from_attributes=True)
