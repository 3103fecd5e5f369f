"""What is done beside the router on AWS: Lambda functions, each with one `handler(event, context)`.

Imported at a cold start by name; nothing here is on the router's way.
"""
