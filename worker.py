"""One worker process: takes reports from the queue and runs each in a work-horse of its own."""

import logging

from rq import Queue
from rq.serializers import JSONSerializer

from webapp import create_app
from webapp.extensions import db, redis_client
from webapp.installation import wait_for_key
from webapp.jobs.transport import GuardedJob
from webapp.ops import logs
from webapp.ops.workers import MONITOR_EVERY_S, WORKER_TTL_S, ForkingWorker, new_name

log = logging.getLogger("webapp.worker")


def main() -> None:
    """Work until told to stop. The times make RQ notice a lost job in a minute, not in thirteen."""
    app = create_app()
    logs.set_up("worker", app.config["LOG_FORMAT"], app.config["LOG_LEVEL"])
    with app.app_context():
        # Without the database it could do no report, and nobody had compared the keys.
        wait_for_key("worker")
        db.engine.dispose()
        connection = redis_client()  # it waits for jobs, as long as that takes
        queue = Queue(app.config["QUEUE"], connection=connection, serializer=JSONSerializer)
        worker = ForkingWorker(
            [queue],
            job_class=GuardedJob,
            name=new_name(),
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            maintenance_interval=60,
            job_monitoring_interval=MONITOR_EVERY_S,
            log_job_description=False,
        )
        log.info("worker %s starts", worker.name)
        worker.work(logging_level="WARNING", with_scheduler=False)
        log.info("worker %s has stopped", worker.name)


if __name__ == "__main__":
    main()
