"""The command of an installed program: `partner-use-report up`, as `flask up` is in a checkout."""

from flask.cli import FlaskGroup

from webapp import create_app


def main() -> None:
    """Run one command, such as `up`, `report` or `db upgrade`."""
    FlaskGroup(create_app=create_app, help="Usage reports, shown live while they are made.")()


if __name__ == "__main__":
    main()
