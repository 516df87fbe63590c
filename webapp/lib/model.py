"""The base of all pydantic models of ours but the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class LazyModel(BaseModel):
    """A model that is made ready when it is first used: of a hundred, a process needs a few."""

    model_config = ConfigDict(defer_build=True)
