"""One worker process: takes reports from the queue and runs each in a work-horse of its own."""

import logging
import time

from rq import Queue
from rq.serializers import JSONSerializer

from webapp import create_app
from webapp.databases import trouble_of
from webapp.extensions import db, redis_client
from webapp.installation import check_key
from webapp.jobs.transport import GuardedJob
from webapp.ops import logs
from webapp.ops.workers import MONITOR_EVERY_S, WORKER_TTL_S, ForkingWorker, new_name
from webapp.security import secret_keys

log = logging.getLogger("webapp.worker")
ASK_DATABASE_EVERY_S = 2.0


def main() -> None:
    """Work until told to stop. The times make RQ notice a lost job in a minute, not in thirteen."""
    app = create_app()
    logs.set_up("worker", app.config["LOG_FORMAT"], app.config["LOG_LEVEL"])
    with app.app_context():
        # Without the database it could do no report, and nobody had compared the keys.
        while error := check_key(db.engine, *secret_keys()):
            reason = trouble_of(error) or "It is not up to date: run `flask db upgrade`."
            log.warning("the worker waits for the database: %s", reason)
            time.sleep(ASK_DATABASE_EVERY_S)
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
