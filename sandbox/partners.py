"""The demo partners and their sites: who they are, where they live, how they grow.

Everything here is fixed; the seed decides only the numbers. Each partner is there for a reason,
told in its `about`, which docs/sandbox.md repeats.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from sandbox.growth import Growth, mix
from sandbox.moments import month_number

DATA_CENTERS = ("us1", "eu1", "au1", "eu2", "cn1", "global")
DOMAINS = {name: f"{name}.gigya.com" for name in DATA_CENTERS} | {"cn1": "cn1.sapcdm.cn"}
PRIMARY = {"us1": "us1", "eu1": "us1", "au1": "us1", "global": "us1", "eu2": "eu2", "cn1": "cn1"}

FIRST_PARTNER = 70000001


@dataclass(frozen=True)
class Site:
    """One site.

    name:                the free text that the partner calls baseDomain
    data_center:         where it lives; `listed_data_center` is where the list says it lives
    parent_api_key:      set on a child, whose accounts are its parent's
    names_owner:         what its siteGroupOwner says: `parent`, `self`, `empty` or `nothing`
    members:             positions of the sites its siteGroupConfig names as members
    logins:              how its accounts sign in: `yes`, `sentinel` (0001-01-01) or `missing`
    digits:              how its dates write fractions, see moments.iso
    refuses, deleted:    error code for every search; a deleted site refuses its configuration too
    drops_results:       leaves `results` out of an answer without rows
    """

    partner_id: int
    position: int
    name: str
    data_center: str
    growth: Growth
    description: str = ""
    listed_data_center: str = ""
    parent: int | None = None
    names_owner: str = "nothing"
    members: tuple[int, ...] = ()
    logins: str = "yes"
    digits: str = "three"
    refuses: int = 0
    deleted: bool = False
    drops_results: bool = False

    @property
    def site_id(self) -> int:
        """Twelve digits, as the partner's newer sites have."""
        return 119500000001 + (self.partner_id - FIRST_PARTNER) * 100_000 + self.position

    @property
    def api_key(self) -> str:
        """`3_` or `4_` and 64 URL-safe characters."""
        return api_key(self.partner_id, self.position)

    @property
    def parent_api_key(self) -> str | None:
        """The key of the site whose accounts a child shares; None when it is no child."""
        return None if self.parent is None else api_key(self.partner_id, self.parent)

    @property
    def is_child(self) -> bool:
        """Whether a report lists it without counting it."""
        return self.parent is not None


@lru_cache(maxsize=65536)
def api_key(partner_id: int, position: int) -> str:
    """Return the API key of a site by its place in its partner's list."""
    text = hashlib.sha384(f"stand-in site {partner_id}/{position}".encode()).digest()
    return f"{3 + position % 2}_{base64.urlsafe_b64encode(text).decode()}"


@dataclass(frozen=True)
class Partner:
    """A demo partner: its number, what it is for, and a maker of its sites."""

    partner_id: int
    about: str
    make: Callable[[int], Iterator[Site]]

    def sites(self) -> tuple[Site, ...]:
        """Return its sites in the order of the list."""
        return tuple(self.make(self.partner_id))


def _small(partner: int) -> Iterator[Site]:
    steady = Growth("steady", month_number(2019, 3))
    yield Site(partner, 0, "shop.example.com", "eu1", steady, "Shop (group owner)",
               names_owner="self", members=(1, 2), digits="trimmed")  # fmt: skip
    for position, name in ((1, "blog.example.com"), (2, "länder.example")):
        yield Site(partner, position, name, "eu1", steady, parent=0, names_owner="parent")
    yield Site(partner, 3, "alone.example", "us1", Growth("trickle", month_number(2021, 6)),
               "stand-alone", digits="seven")  # fmt: skip
    yield Site(partner, 4, "imported.example", "eu1", Growth("import", month_number(2022, 2)),
               "imported, nobody ever signed in", logins="sentinel")  # fmt: skip
    yield Site(partner, 5, "empty.example", "us1", Growth("none", month_number(2024, 1)))


ODD_NAMES = (
    "=cmd()", "+1+1", "-2+3", "@SUM(A1)", 'say "hello", world', "<script>alert(1)</script>",
    "näme – ünïcødé 東京 🚀", "a\tb", "O'Brien & Söhne", "مرحبا.example", "two\nlines", " spaced ",
)  # fmt: skip


def _large(partner: int) -> Iterator[Site]:
    for position in range(200):
        site = _grown(partner, position, ("us1", "eu1", "au1", "eu2"), mixed=True)
        if position < 60:
            site = _grouped(site, 5)
        if position % 16 == 15:
            odd = ODD_NAMES[position // 16 % len(ODD_NAMES)]
            site = replace(site, name=odd, description=odd)
        yield site


def _grouped(site: Site, size: int) -> Site:
    """Return the site as one of a group: the first of each `size` is the parent of the rest."""
    owner = site.position - site.position % size
    home = _grown(site.partner_id, owner, ("us1", "eu1", "au1", "eu2"), mixed=True)
    site = replace(site, data_center=home.data_center, listed_data_center="")
    if site.position != owner:
        return replace(site, parent=owner, names_owner="parent")
    says = "self" if owner // size % 2 else "nothing"
    return replace(site, members=tuple(range(owner + 1, owner + size)), names_owner=says)


MIX = ("steady", "trickle", "quiet", "bursts", "trickle", "quiet", "steady", "import")


def _grown(partner: int, position: int, centers: tuple[str, ...], *, mixed: bool = False) -> Site:
    """Return a stand-alone site of some shape, age and place."""
    dice = mix(partner, position)
    first = month_number(2014, 1) + dice % 120
    ended = first + 6 + dice // 7 % 60 if dice % 9 == 0 else None
    shape = "none" if mixed and position % 23 == 22 else MIX[dice // 11 % len(MIX)]
    center = centers[dice // 13 % len(centers)]
    moved = mixed and position == 150
    return Site(
        partner, position, f"site-{position:04d}.example", "eu1" if moved else center,
        Growth(shape, first, ended), f"Site {position}",
        listed_data_center="us1" if moved else "",
        logins=("yes", "sentinel", "missing")[position % 3] if dice % 10 == 0 else "yes",
        digits=("three", "trimmed", "seven")[dice // 17 % 3],
        drops_results=mixed and position % 46 == 45,
    )  # fmt: skip


def _many(count: int) -> Callable[[int], Iterator[Site]]:
    def make(partner: int) -> Iterator[Site]:
        for position in range(count):
            yield _grown(partner, position, ("us1", "eu1", "au1"))

    return make


def _huge(partner: int) -> Iterator[Site]:
    shapes = ("quiet", "quiet", "quiet", "quiet", "trickle", "trickle", "steady", "bursts",
              "bursts", "busy")  # fmt: skip
    for position in range(5000):
        site = _grown(partner, position, ("us1", "eu1", "au1"))
        yield replace(site, growth=Growth(shapes[position % 10], month_number(2016, 6)))


def _shaped(shape: str) -> Callable[[int], Iterator[Site]]:
    def make(partner: int) -> Iterator[Site]:
        for position in range(50):
            first = month_number(2019, 1) + (position % 24 if shape == "quiet" else 0)
            kind = "none" if shape == "quiet" and position % 10 == 9 else shape
            yield Site(partner, position, f"{shape}-{position:02d}.example", "us1",
                       Growth(kind, first))  # fmt: skip

    return make


def _slow(partner: int) -> Iterator[Site]:
    for position in range(4):
        yield Site(partner, position, f"slow-{position}.example", "eu1",
                   Growth("trickle", month_number(2020, 1)))  # fmt: skip


def _refusing(partner: int) -> Iterator[Site]:
    codes = {1: 403007, 3: 403036, 4: 403007}
    for position in range(6):
        yield Site(partner, position, f"site-{position}.example", "us1",
                   Growth("trickle", month_number(2020, 1)),
                   refuses=codes.get(position, 0), deleted=position == 4)  # fmt: skip


def _odd_groups(partner: int) -> Iterator[Site]:
    steady = Growth("steady", month_number(2020, 1))
    yield Site(partner, 0, "parent.example", "eu1", steady, members=(1, 2), names_owner="nothing")
    yield Site(partner, 1, "child.example", "eu1", steady, parent=0, names_owner="parent")
    yield Site(partner, 2, "silent-child.example", "eu1", steady, parent=0, names_owner="nothing")
    yield Site(partner, 3, "orphan.example", "eu1", steady, parent=99, names_owner="parent")
    yield Site(partner, 4, "alone.example", "us1", steady, names_owner="empty")


PARTNERS = {
    number: Partner(number, about, make)
    for number, about, make in (
        (70000001, "small: a group whose parent names itself as owner and two children, a "
         "stand-alone site in us1, one where nobody ever signed in, one without accounts", _small),
        (70000002, "large: 200 sites in four data centres, groups, odd names, years", _large),
        (70000003, "a partner without sites", _many(0)),
        (70000004, "1,000 sites of all shapes", _many(1000)),
        (70000005, "5,000 sites over more than ten years, a tenth of them busy", _huge),
        (70000006, "four slow sites, made for the fault `deletion` (negative deltas)", _slow),
        (70000007, "six sites: one refused (403007), one without product (403036), one deleted",
         _refusing),
        (70000008, "odd groups: a child that names no owner, an orphan, an empty owner",
         _odd_groups),
        (70000011, "50 quiet sites: dormant and test sites", _shaped("quiet")),
        (70000012, "50 typical sites: some thousand accounts in a fifth of the months",
         _shaped("bursts")),
        (70000013, "50 busy sites: 50,000 accounts every month", _shaped("busy")),
        (70000014, "150 sites of all shapes", _many(150)),
    )
}  # fmt: skip
