"""Signing in from a program, companies and users, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any

from webapp.openapi import (
    DAY,
    ID,
    NUMBER,
    PROBLEM,
    PROBLEM_JSON,
    TEXT,
    YES,
    Describer,
    Paths,
    listed,
    maybe,
    thing,
    with_ids,
)

_tokens = Describer("Signing in", PROBLEM, PROBLEM_JSON).operation
_people = Describer("Companies and users", PROBLEM, PROBLEM_JSON).operation

# Whoever asks for a token has none yet.
_NONE: list[Any] = []
# The refresh token stands in the header, as a bearer.
_BEARER = [{"bearer": _NONE}]

_ACCESS = thing({"access_token": TEXT, "token_type": {"const": "Bearer"}})
_COMPANY = thing(
    {
        "id": ID,
        "name": TEXT,
        "createdAt": DAY,
        "isConsultingCompany": YES,
        "isDemoCompany": YES,
        "availableClientCompanies": maybe(NUMBER),
    }
)
_USER = thing(
    {
        "id": ID,
        "companyId": ID,
        "firstName": maybe(TEXT),
        "lastName": maybe(TEXT),
        "email": TEXT,
        "isAdmin": YES,
        "isReadonly": YES,
        "isReadonlyLimited": YES,
        "isConsultant": YES,
        "status": TEXT,
    }
)

PATHS: Paths = with_ids(
    {
        "/api/keys/v1/api/auth": {
            "post": _tokens(
                "Tokens for an API key",
                thing(
                    {
                        "accessToken": TEXT,
                        "tokenType": {"const": "Bearer"},
                        "refreshToken": TEXT,
                        "expiresIn": NUMBER,
                    }
                ),
                body=thing({"apiKey": TEXT, "secret": TEXT | {"writeOnly": True}}),
                errors=(422,),
                security=_NONE,
            )
        },
        "/api/auth/token": {
            "post": _tokens(
                "Tokens for a password",
                thing(
                    {
                        "access_token": TEXT,
                        "token_type": {"const": "Bearer"},
                        "refresh_token": TEXT,
                        "expires_in": NUMBER,
                    }
                ),
                body=thing({"username": TEXT, "password": TEXT | {"writeOnly": True}}),
                body_type="application/x-www-form-urlencoded",
                errors=(422,),
                security=_NONE,
            )
        },
        "/api/auth/token/refresh": {
            "get": _tokens("A new token for a refresh token", _ACCESS, security=_BEARER)
        },
        "/api/auth/token/switch": {
            "post": _tokens(
                "The token of another company",
                _ACCESS,
                body=thing({"companyId": ID}),
                errors=(422,),
            )
        },
        "/api/accounts/v1/companies": {
            "get": _people("The companies the caller may switch to", listed(_COMPANY))
        },
        "/api/accounts/v1/companies/{company_id}": {
            "get": _people("One company", _COMPANY, errors=(404,))
        },
        "/api/accounts/v1/users": {
            "get": _people("Everybody with a role in the company", listed(_USER))
        },
        "/api/accounts/v1/users/{user_id}": {"get": _people("One user", _USER, errors=(404,))},
    }
)
