"""One worker process: takes reports from the queue and runs each in a work-horse of its own."""

import socket
import uuid

from rq.serializers import JSONSerializer

from webapp import create_app
from webapp.extensions import report_queue
from webapp.ops.leash import LeashedWorker


def main() -> None:
    """Work until told to stop. The times make RQ notice a lost job in a minute, not in thirteen."""
    with create_app().app_context():
        queue = report_queue()
        worker = LeashedWorker(
            [queue],
            name=f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}",
            connection=queue.connection,
            serializer=JSONSerializer,
            worker_ttl=60,
            maintenance_interval=60,
            job_monitoring_interval=10,
            log_job_description=False,
        )
        worker.work(with_scheduler=False)


if __name__ == "__main__":
    main()
