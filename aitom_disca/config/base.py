"""What all settings have in common: frozen, checked when they are made, refused in one sentence."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from aitom_disca.errors import InputError


class Settings(BaseModel):
    """Frozen settings that refuse unknown names.

    Raises
    ------
    InputError
        If a value cannot be used, or a name is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_in_words(error, type(self).model_fields)) from error

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Make settings of values whose types are not known yet.

        Raises
        ------
        InputError
        """
        return cls(**values)

    def changed(self, **changes: Any) -> Self:
        """The same settings with changes.

        Raises
        ------
        InputError
        """
        return self.checked(**{**self.model_dump(), **changes})


class WithConstants(Settings):
    """Settings with constants for experts, which are None where none are given."""

    _constants: ClassVar[str]  # name of the field that holds them

    @model_serializer(mode="wrap")
    def _with_changed_constants_alone(
        self, plain: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Constants that are as they are by default stand in the version, not in the settings."""
        values: dict[str, Any] = plain(self)
        given: Settings | None = getattr(self, self._constants)
        if given is None:
            values.pop(self._constants, None)
        elif self._constants in values:
            values[self._constants] = given.model_dump(mode=info.mode, exclude_defaults=True)
        return values


def _in_words(error: ValidationError, known: Collection[str]) -> str:
    """The first thing that is wrong, as one sentence."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, InputError):  # of settings within settings
        return f"{name}.{inner}"
    why = first["msg"]
    if first["type"] == "extra_forbidden":
        why = f"there is no such setting; choose from {', '.join(known)}"
    return f"{name} = {first['input']!r} cannot be used: {why}."


CHOSEN = "Not measured: chosen."


def constant(default: Any, what: str, evidence: str = CHOSEN, **bounds: Any) -> Any:
    """A field that few should change: what it does, and what is known of its value."""
    if isinstance(default, float):
        bounds["allow_inf_nan"] = False
    more: dict[str, Any] = {"evidence": evidence}
    return Field(default, description=what, json_schema_extra=more, **bounds)
