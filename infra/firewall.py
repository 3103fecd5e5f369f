"""WAF before a prod stage's API: how often one address may ask, and AWS's common rules.

The common rules that read bodies only count: a prompt with HTML, a path or a metadata address in
it is what our callers send, and most prompts are longer than the 8 kB that SizeRestrictions_BODY
allows. There is no rule of ours for the size of a body: WAF sees its first 16 kB alone. API
Gateway ends one at 10 MB, Lambda at 6 MB, the router at 6,000,000 bytes with a 413.
"""

from typing import Final

from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from router.deploy.stage import Stage

PER_ADDRESS: Final = 3000  # requests in five minutes; many services may share one address
OF_PROMPTS: Final = (
    "SizeRestrictions_BODY",
    "CrossSiteScripting_BODY",
    "GenericLFI_BODY",
    "GenericRFI_BODY",
    "EC2MetaDataSSRF_BODY",
)
_Acl = waf.CfnWebACL


class Firewall(Construct):
    """Stands before one stage of an API, or one load balancer, given by its ARN."""

    def __init__(self, scope: Construct, construct_id: str, *, stage: Stage, protects: str) -> None:
        super().__init__(scope, construct_id)
        acl = _Acl(
            self,
            "Acl",
            name=stage.prefix,
            scope="REGIONAL",
            default_action=_Acl.DefaultActionProperty(allow={}),
            visibility_config=_seen(stage.prefix),  # `All` is WAF's own
            rules=[
                _Acl.RuleProperty(
                    name="rate",
                    priority=0,
                    action=_Acl.RuleActionProperty(block={}),
                    visibility_config=_seen("rate"),
                    statement=_Acl.StatementProperty(
                        rate_based_statement=_Acl.RateBasedStatementProperty(
                            aggregate_key_type="IP", limit=PER_ADDRESS
                        )
                    ),
                ),
                _managed("AWSManagedRulesCommonRuleSet", 1, counted=OF_PROMPTS),
                _managed("AWSManagedRulesAmazonIpReputationList", 2),
            ],
        )
        waf.CfnWebACLAssociation(
            self, "Association", resource_arn=protects, web_acl_arn=acl.attr_arn
        )


def _managed(name: str, priority: int, counted: tuple[str, ...] = ()) -> _Acl.RuleProperty:
    return _Acl.RuleProperty(
        name=name,
        priority=priority,
        override_action=_Acl.OverrideActionProperty(none={}),
        visibility_config=_seen(name),
        statement=_Acl.StatementProperty(
            managed_rule_group_statement=_Acl.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=name,
                rule_action_overrides=[
                    _Acl.RuleActionOverrideProperty(
                        name=rule, action_to_use=_Acl.RuleActionProperty(count={})
                    )
                    for rule in counted
                ]
                or None,
            )
        ),
    )


def _seen(name: str) -> _Acl.VisibilityConfigProperty:
    """Count, and keep no sample: one would hold the headers of a request, and its key."""
    return _Acl.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
