"""A policy with every part that the contract knows."""

CONTRACT = """
version: 1
name: production
baseline: llama-4-scout@p5-scout
defaults:
  minimize: marginal_cost
  quality_floor: 0.85
  slo: {ttft_p95_ms: 2000, e2e_p95_ms: 60000}
  max_output_tokens: 4096
  limits:
    deadline_ms: 120000
    ttft_timeout_ms: 20000
    inter_chunk_timeout_ms: 15000
    attempts: 3
    breaker: {failures: 5, open_ms: 10000}
  relax: [slo.ttft, slo.e2e, quality_floor]
rules:
  - id: private
    when: {tags: {data: private}}
    use: [cpu]
    residency: [cn-north-1]
    relax: []
  - id: simple-to-cpu
    when: {tier: [simple], task: [classification, sentiment, extraction, translation, short_answer]}
    use: {in_order: [cpu, accelerator]}
    thinking: "off"
  - id: interactive
    when: {service_class: [interactive]}
    use: [accelerator]
    slo: {ttft_p95_ms: 300}
    hedge: {after: ttft_p95, spend_up_to_usd: 0.002}
  - id: cascade-extraction
    when: {task: [extraction], tenant: [crm]}
    cascade: {try: cpu, accept_if: {mean_logprob_above: -0.15, json_valid: true}, then: accelerator}
  - id: overnight
    when: {service_class: [deferrable], local_time: {from: "22:00", to: "06:00", tz: Asia/Shanghai}}
    use: [batch, accelerator]
  - id: everything-else
    use: {in_order: [accelerator, cpu]}
budgets:
  - {id: search-team, match: {team: search}, usd: 400, per: month, tz: UTC,
     when_spent: downgrade, hard_usd: 440, alert_at: [0.5, 0.8, 1.0]}
  - {id: any-key, match: {key: "*"}, usd: 20, per: day, when_spent: reject}
rate_limits:
  - {id: search-team, match: {team: search}, requests_per_min: 600, tokens_per_min: 200000,
     concurrent: 20}
shadow: {share: 0.01, judge: llama-4-scout, budget: sluice-shadow}
canary:
  policy: production-next
  share: 0.05
  stop_if: {error_rate_above: 0.02, cost_ratio_above: 1.2}
"""
