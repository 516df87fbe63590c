# One image for web, workers, janitor and migrations. Slim, no compiler, not root.
FROM python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install --require-hashes -r requirements.txt

FROM python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data \
    HOST=0.0.0.0 \
    PORT=8000
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin app \
    && mkdir /data && chown app:app /data
WORKDIR /app
COPY --from=packages /venv /venv
COPY webapp webapp
COPY migrations migrations
COPY worker.py wsgi.py ./
# Nothing is written here later, and a check of health is a new process each time.
RUN python -m compileall -q .
USER app
VOLUME /data
EXPOSE 8000
CMD ["gunicorn", "--config", "file:webapp/ops/gunicorn_conf.py"]
