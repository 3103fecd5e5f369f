"""A catalogue of two fleets that workers look after: one can be asked, one is SageMaker's."""

FLEETS = """version: 1
models:
  - {{id: m, context_tokens: 4096, abilities: [json], languages: [en]}}
fleets:
  - {{id: asked, model: m, lane: cpu, engine: vllm, kind: openai_http, url: {url},
     instance: c8g.xlarge, region: us-east-1, fallback_usd_per_mtok: 1,
     replicas: {{min: 1, max: 1, concurrency_each: 4, scale_out_at: 0.7}}}}
  - {{id: c8g-qwen3, model: m, lane: cpu, engine: vllm, kind: sagemaker, endpoint: ours,
     instance: ml.c8g.xlarge, region: us-east-1, usd_per_hour: 0.2, fallback_usd_per_mtok: 1,
     replicas: {{min: 0, max: 4, concurrency_each: 4, scale_out_at: 0.7}},
     wake: {{seconds: 60, min_run_seconds: 60}}}}
"""
