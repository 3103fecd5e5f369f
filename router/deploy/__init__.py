"""What is to be deployed on AWS and what that costs: deploy.yaml, its checks, its plan.

`infra/` makes templates of it; nothing here knows the CDK.
"""
