"""Logins and computers by name: added, found, listed, renamed, merged and switched off.

A name is matched by its key, so case and Unicode form make nobody somebody else. Each of both
tables holds canonical rows, and names that were merged or renamed away, which lead to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import category, normalize

from sqlalchemy import ColumnElement, delete, func, or_, select, true, update
from sqlalchemy.orm import InstrumentedAttribute

from webapp.accounts import Scope, User, audit, scope_of
from webapp.engine import months
from webapp.errors import Conflict, InvalidParams, NotAllowed, NotFound
from webapp.extensions import db
from webapp.kinds.session_activity.models import (
    SLUG,
    Computer,
    Correction,
    Login,
    Segment,
    Session,
    Settings,
)
from webapp.kinds.session_activity.segments import hold
from webapp.lib.keyset import cut, one_page
from webapp.lib.moments import utcnow
from webapp.lib.texts import storable
from webapp.lib.upserts import upsert

Table = type[Login] | type[Computer]
# Control characters, and separators of lines and paragraphs.
UNWRITABLE = {"Cc", "Zl", "Zp"}


def is_writable(text: str) -> bool:
    """Say whether a text may be a name: one line that databases take.

    Spaces that do not break and marks between letters are parts of real names.
    """
    return storable(text) and not any(category(letter) in UNWRITABLE for letter in text)


def key_of(name: str, *, strips_domain: bool = False) -> str:
    """Return a name as it is matched: folded, composed, without its domain where that is said."""
    if strips_domain:
        name = name.rpartition("\\")[2].partition("@")[0] or name
    return normalize("NFC", normalize("NFC", name).casefold())


def settings_of(company_id: str) -> Settings:
    """Return a company's settings, those of a new one where it has none."""
    found = db.session.get(Settings, company_id)
    new = {"strips_domain": False, "opening_hours": "", "rooms": "", "mail_domain": ""}
    return found or Settings(company_id=company_id, hours_seen_by="everybody", **new)


def keys_of(bind: Any, table: Table, company_id: str, names: Iterable[str]) -> dict[str, str]:
    """Return the keys of names as the company's setting has them."""
    strips = select(Settings.strips_domain).where(Settings.company_id == company_id)
    is_on = table is Login and bool(bind.execute(strips).scalar())
    return {name: key_of(name, strips_domain=is_on) for name in names}


def matching(bind: Any, table: Table, company_id: str, search: str) -> ColumnElement[bool]:
    """Return the condition of names with a text in them, written as it is shown or as it counts."""
    keys = {key_of(search), *keys_of(bind, table, company_id, [search]).values()}
    return or_(*(table.key.contains(key, autoescape=True) for key in sorted(keys)))


def add_names(table: Table, company_id: str, names: Iterable[str]) -> None:
    """Store names that are not known yet; known ones are no error."""
    more: dict[str, Any] = {"longest_days": 1} if table is Login else {"room": ""}
    more |= {"company_id": company_id, "is_off": False, "created_at": utcnow()}
    with db.engine.begin() as connection:
        keys = keys_of(connection, table, company_id, dict.fromkeys(names))
        rows = [{"name": name, "key": key, **more} for name, key in keys.items()]
        if rows:
            statement = upsert(connection, table)
            known = ["company_id", "key"]
            connection.execute(statement.on_conflict_do_nothing(index_elements=known), rows)


def ids_of(bind: Any, table: Table, company_id: str, names: Iterable[str]) -> dict[str, int]:
    """Return the number behind each name that is known, on a connection or session."""
    keys = keys_of(bind, table, company_id, names)
    query = select(table.key, func.coalesce(table.same_as_id, table.id)).where(
        table.company_id == company_id, table.key.in_(set(keys.values()))
    )
    if table is Login:
        query = query.where(Login.nameless_month.is_(None))
    known = dict(bind.execute(query).all())
    return {name: known[key] for name, key in keys.items() if key in known}


def find(bind: Any, table: Table, company_id: str, name: str, *, locks: bool = False) -> Any:
    """Return the row that a name leads to, None for an unknown one.

    locks: until the transaction is over
    """
    number = ids_of(bind, table, company_id, [name]).get(name)
    query = select(table.__table__).where(table.id == number)
    found = bind.execute(query.with_for_update() if locks else query).first()
    if found is not None and found.same_as_id is not None:
        # It was merged while this waited for its lock.
        return find(bind, table, company_id, name, locks=locks)
    return found


def find_login(scope: Scope, name: str, *, managing: bool = False) -> Any:
    """Return a login that the caller may see, or manage, by its name; None for any other."""
    number = ids_of(db.session, Login, scope.company_id, [name]).get(name)
    wanted = (Login.id == number) & seen(scope, managing=managing)
    return db.session.execute(select(Login.__table__).where(wanted)).first()


def may_see_all(scope: Scope) -> bool:
    """Return whether the caller may see the hours of everybody."""
    by = settings_of(scope.company_id).hours_seen_by
    return by == "everybody" or (by == "admins" and scope.may("admin"))


def may_manage(scope: Scope) -> bool:
    """Return whether the caller may manage all logins; admins need not see their hours for that."""
    return scope.may("admin") or may_see_all(scope)


def seen(
    scope: Scope, login: InstrumentedAttribute[int] = Login.id, *, managing: bool = False
) -> ColumnElement[bool]:
    """Return the condition of the logins that the caller may see, or manage, by their number."""
    if may_manage(scope) if managing else may_see_all(scope):
        return true()
    return login.in_(own_logins(scope))


def own_logins(scope: Scope) -> list[int]:
    """Return the numbers of the logins that are the caller's.

    They are those an admin gave their account. Of logins that nobody was given it is the one called
    like their email, and in the company's mail domain the one called like what stands before the @.
    """
    settings = settings_of(scope.company_id)
    mailbox, _, domain = scope.email.casefold().rpartition("@")
    # Where domains are stripped, the same name at any other domain would be theirs, too.
    names = [] if settings.strips_domain else [scope.email]
    names += [mailbox] if domain == settings.mail_domain else []
    called = ids_of(db.session, Login, scope.company_id, names).values()
    is_given = Login.user_id == scope.user_id
    is_called = Login.user_id.is_(None) & Login.id.in_(set(called))
    mine = (Login.company_id == scope.company_id) & Login.same_as_id.is_(None)
    return list(db.session.scalars(select(Login.id).where(mine, or_(is_given, is_called))))


def list_names(
    table: Table, scope: Scope, search: str, after: str, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """Return names that contain a text or are led to by one, in order, and whether more follow.

    Shape: name, is_off, others (names that lead to it), last_seen (None for who may not see it);
           of computers room and corrects_clock, of logins account
    """
    query = select(table, _last_seen(table)).where(
        table.company_id == scope.company_id, table.same_as_id.is_(None)
    )
    if table is Login:
        query = query.where(Login.nameless_month.is_(None), seen(scope, managing=True))
    if search:
        wanted = matching(db.session, table, scope.company_id, search)
        led = select(table.same_as_id).where(table.company_id == scope.company_id, wanted)
        query = query.where(wanted | table.id.in_(led.where(table.same_as_id.is_not(None))))
    last = list(keys_of(db.session, table, scope.company_id, [after]).values()) if after else None
    page = one_page(query, [table.key], last, limit)
    rows, more = cut(db.session.execute(page).all(), limit)
    others: dict[int | None, list[str]] = {}
    ids = [one.id for one, _ in rows]
    for number, name in db.session.execute(
        select(table.same_as_id, table.name).where(table.same_as_id.in_(ids)).order_by(table.key)
    ):
        others.setdefault(number, []).append(name)
    columns = ("name", "is_off", *(("room", "corrects_clock") if table is Computer else ()))
    sees = may_see_all(scope)
    found = [
        {column: getattr(one, column) for column in columns}
        | {"others": others.get(one.id, []), "last_seen": last_seen if sees else None}
        for one, last_seen in rows
    ]
    if table is Login:
        owners = select(User.id, User.email).where(User.id.in_([one.user_id for one, _ in rows]))
        emails = dict(db.session.execute(owners).all())
        for (one, _), row in zip(rows, found, strict=True):
            row["account"] = emails.get(one.user_id)
    return found, more


def _last_seen(table: Table) -> Any:
    """Return the subquery of when a session last pinged, about to the day."""
    uses = Session.login_id if table is Login else Session.computer_id
    newest = select(Session.last_at).where(uses == table.id).order_by(Session.ends_day.desc())
    return newest.limit(1).scalar_subquery().label("last_seen")


def placed_computers(company_id: str) -> Sequence[Any]:
    """Return id, name, key, room, is_off and last_seen of a company's computers, by key."""
    columns = (Computer.id, Computer.name, Computer.key, Computer.room, Computer.is_off)
    query = select(*columns, _last_seen(Computer)).where(
        Computer.company_id == company_id, Computer.same_as_id.is_(None)
    )
    return db.session.execute(query.order_by(Computer.key)).all()


def names_by_id(table: Table, ids: Iterable[int]) -> dict[int, str]:
    """Return the names of some logins or computers."""
    query = select(table.id, table.name).where(table.id.in_(list(ids)))
    return dict(db.session.execute(query).all())


def change_name(scope: Scope, table: Table, name: str, changes: dict[str, Any]) -> None:
    """Rename, merge or switch a login or a computer, or set what else it has. Commits.

    changes: new_name, merge_into, account (admins; empty: nobody's), or values of columns
    Raises: NotFound, NotAllowed, Conflict where the new name is another's, InvalidParams
    """
    # Who could rename a login or merge it into their own would see its hours.
    if table is Login and not may_manage(scope):
        raise NotAllowed("Changing logins needs the role admin where hours are not for everybody.")
    into = changes.get("merge_into")
    named = ids_of(db.session, table, scope.company_id, filter(None, (name, into)))
    hold(db.session, table, named.values(), with_sessions=bool(into))
    found = find(db.session, table, scope.company_id, name, locks=True)
    if found is None:
        raise NotFound(f"There is no {_noun(table)} {name!r}.")
    columns = {key: value for key, value in changes.items() if key in table.__table__.columns}
    if "account" in changes:
        columns["user_id"] = _member_id(scope, changes["account"])
    if columns:
        db.session.execute(update(table).where(table.id == found.id).values(columns))
    if "corrects_clock" in changes:
        mark_changed(scope.company_id, logins_at(found.id))
    if new_name := changes.get("new_name"):
        _rename(table, scope.company_id, found, new_name)
    if into:
        other = find(db.session, table, scope.company_id, into, locks=True)
        if other is None or other.id == found.id:
            raise InvalidParams({"merge_into": f"Name another {_noun(table)} that is known."})
        _merge(table, scope.company_id, found, other)
    audit(scope, f"changed {_noun(table)}", f"{name}: {', '.join(changes)}")
    db.session.commit()


def _noun(table: Table) -> str:
    return "login" if table is Login else "computer"


def _member_id(scope: Scope, email: str) -> str | None:
    """Return the id of a member's account; None for an empty address."""
    if not scope.may("admin"):
        raise NotAllowed("Setting the account of a login needs the role admin.")
    accounts = db.session.scalars(select(User).where(User.email == email.casefold()))
    members = [user.id for user in accounts if scope_of(user, scope.company_id)]
    if email and not members:
        raise InvalidParams({"account": "No member of the company has this email address."})
    return members[0] if members else None


def _rename(table: Table, company_id: str, found: Any, new_name: str) -> None:
    """Give a row another name; the old one leads to it from now on."""
    [key] = keys_of(db.session, table, company_id, [new_name]).values()
    other = ids_of(db.session, table, company_id, [new_name]).get(new_name)
    if other not in {None, found.id}:
        raise Conflict(f"There is a {_noun(table)} {new_name!r} already; merge them instead.")
    # A name it had before, and has again.
    db.session.execute(delete(table).where(table.same_as_id == found.id, table.key == key))
    db.session.execute(update(table).where(table.id == found.id).values(name=new_name, key=key))
    if key != found.key:
        old = table(company_id=company_id, name=found.name, key=found.key, same_as_id=found.id)
        db.session.add(old)
    if table is Login:
        months.expire(company_id=company_id, kind=SLUG, subject=found.name)


def _merge(table: Table, company_id: str, found: Any, other: Any) -> None:
    """Let a row be another one: its sessions go there, and all its names lead there."""
    mark_changed(company_id, logins_at(found.id) if table is Computer else [found.id, other.id])
    users: Sequence[Any] = (
        (Session, Segment, Correction) if table is Login else (Session, Correction)
    )
    column = "login_id" if table is Login else "computer_id"
    for user in users:
        moved = update(user).where(getattr(user, column) == found.id).values({column: other.id})
        db.session.execute(moved)
    names = (table.id == found.id) | (table.same_as_id == found.id)
    db.session.execute(update(table).where(names).values(same_as_id=other.id))
    if table is Login:
        longest = max(found.longest_days, other.longest_days)
        # Whose hours they are goes with them, unless the other is somebody's.
        both = {"longest_days": longest, "user_id": other.user_id or found.user_id}
        db.session.execute(update(Login).where(Login.id == other.id).values(both))


def logins_at(computer_id: int) -> Sequence[int]:
    """Return the logins that ever sat at a computer."""
    query = select(Session.login_id).where(Session.computer_id == computer_id).distinct()
    return db.session.scalars(query).all()


def mark_changed(company_id: str, login_ids: Iterable[int]) -> None:
    """Let no stored month of some logins be used again, before they are changed. No commit."""
    late = update(Login).where(Login.id.in_(list(login_ids))).values(late_at=utcnow())
    for name in db.session.scalars(late.returning(Login.name)).all():
        months.expire(company_id=company_id, kind=SLUG, subject=name)


def change_settings(scope: Scope, values: dict[str, Any]) -> None:
    """Set how a company's names and hours are read; names that become one are merged. Commits."""
    settings = settings_of(scope.company_id)
    strips_before = settings.strips_domain
    for name, value in values.items():
        setattr(settings, name, value)
    db.session.add(settings)
    db.session.flush()
    if settings.strips_domain != strips_before:
        _match_anew(scope.company_id)
    audit(scope, "changed session settings", ", ".join(values))
    db.session.commit()


def _match_anew(company_id: str) -> None:
    """Give all logins the key that the setting wants, then the names that lead to them."""
    mine = (Login.company_id == company_id) & Login.nameless_month.is_(None)
    rows = select(Login.__table__).where(mine).order_by(Login.same_as_id.is_not(None), Login.id)
    for found in db.session.execute(rows).all():
        [key] = keys_of(db.session, Login, company_id, [found.name]).values()
        owner = find(db.session, Login, company_id, found.name)
        if owner is None:
            db.session.execute(update(Login).where(Login.id == found.id).values(key=key))
        elif found.same_as_id is None and found.id != owner.id:
            _merge(Login, company_id, found, owner)


def login_names(scope: Scope, limit: int) -> list[str]:
    """Return the first names of logins that the caller sees, in order, to choose from."""
    mine = (Login.company_id == scope.company_id) & Login.same_as_id.is_(None)
    query = select(Login.name).where(mine, Login.nameless_month.is_(None), seen(scope))
    return list(db.session.scalars(query.order_by(Login.key).limit(limit)))
