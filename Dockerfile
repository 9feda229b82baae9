# docker build -t genmods . && docker run --gpus all -v "$PWD/runs:/data/runs" genmods fit --config ddpm
FROM python:3.12-slim
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY recipes recipes
COPY src src
RUN pip install --no-cache-dir .
WORKDIR /data
ENTRYPOINT ["python", "-m", "genmods"]
