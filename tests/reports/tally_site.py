"""The tally's site as gunicorn serves it and a worker works for it; settings by environment."""

from __future__ import annotations

import sys

from rq import Worker
from rq.serializers import JSONSerializer
from tally import Tally

from webapp import create_app
from webapp.extensions import report_queue

app = create_app(report_kinds=[Tally()])


def work() -> None:
    """Take reports from the queue until told to stop."""
    with app.app_context():
        queue = report_queue()
        worker = Worker([queue], connection=queue.connection, serializer=JSONSerializer)
        worker.work(logging_level="WARNING", with_scheduler=False)


if __name__ == "__main__":
    work() if sys.argv[1:] == ["work"] else sys.exit("tally_site.py work")
