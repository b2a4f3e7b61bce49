# An image for CPUs: it runs every task, the demo if none is named.
#
#   docker build --tag flag3d .
#   docker run --rm --volume "$PWD:/runs" flag3d
#   docker run --rm --volume "$PWD:/runs" flag3d task=export task.checkpoint=outputs/mine
#
# docs/how-to/export.md shows how to serve from it.
FROM python:3.11-slim

# MindSpore's libraries are linked against libgomp1; g++ compiles the convolutions.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY conf conf
COPY flag3d_exp flag3d_exp
COPY hydra_plugins hydra_plugins
RUN pip install --no-cache-dir --constraint constraints.txt ".[export]"

ENV MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /runs
ENTRYPOINT ["flag3d-exp"]
CMD ["task.epochs=12", "task.eval_every=3"]
