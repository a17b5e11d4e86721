"""Where the control API listens, and behind what.  Imports nothing heavy."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ControlOptions(BaseModel):
    """The control API, which the relay's daemon serves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.  Any but a loopback address needs certificate and key.")
    port: int = Field(7400, ge=0, le=65535, description="Port; 0 takes any free one.")
    certificate: str = Field("", description="File with the certificate (PEM) for HTTPS.")
    key: str = Field("", description="File with its private key (PEM).")
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses of reverse proxies that end HTTPS in front of this listener; allows plain HTTP beyond loopback.",
    )
