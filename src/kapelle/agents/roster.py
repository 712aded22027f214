"""The 15 agents that the documents name, as registry entries. A model gives them life: without one they can be planned
for, priced and validated, but not run."""

from __future__ import annotations

from .capability import AgentCapability

ROSTER = (
    AgentCapability(
        agent_id="analyst_agent",
        description="Analyses data and requirements, and reports what they mean.",
        task_types=("analyze", "analyse", "analysis", "research", "evaluate", "compare", "aggregate", "summarize"),
        skills=frozenset({"analysis", "statistics", "research", "reporting", "sql"}),
        cost_tier="medium",
    ),
    AgentCapability(
        agent_id="qa_agent",
        description="Tests and checks the work of others.",
        task_types=("test", "verify", "validate", "review", "qa"),
        skills=frozenset({"testing", "verification", "review", "debugging"}),
        cost_tier="cheap",
    ),
    AgentCapability(
        agent_id="support_agent",
        description="Answers questions of users and customers.",
        task_types=("support", "answer", "lookup", "search", "respond"),
        skills=frozenset({"communication", "search", "troubleshooting"}),
        cost_tier="cheap",
    ),
    AgentCapability(
        agent_id="legal_agent",
        description="Reads and writes contracts, terms and policies.",
        task_types=("legal", "compliance", "contract", "policy"),
        skills=frozenset({"legal", "compliance", "writing", "review"}),
        cost_tier="expensive",
    ),
    AgentCapability(
        agent_id="content_agent",
        description="Writes documents, articles and reports.",
        task_types=("write", "content", "report", "document", "documentation", "summarize", "translate"),
        skills=frozenset({"writing", "editing", "translation"}),
        cost_tier="medium",
    ),
    AgentCapability(
        agent_id="marketing_agent",
        description="Plans campaigns and writes their messages.",
        task_types=("marketing", "campaign", "promote", "launch"),
        skills=frozenset({"marketing", "writing", "research"}),
        cost_tier="medium",
    ),
    AgentCapability(
        agent_id="sales_agent",
        description="Finds and addresses prospective customers.",
        task_types=("sales", "outreach", "prospect", "quote"),
        skills=frozenset({"sales", "communication", "negotiation"}),
        cost_tier="medium",
    ),
    AgentCapability(
        agent_id="design_agent",
        description="Designs interfaces, architectures and visual material.",
        task_types=("design", "architecture", "wireframe", "prototype"),
        skills=frozenset({"design", "ux", "architecture"}),
        cost_tier="medium",
    ),
    AgentCapability(
        agent_id="builder_agent",
        description="Writes and changes software.",
        task_types=("implement", "build", "code", "develop", "fix", "refactor", "python", "generic"),
        skills=frozenset({"coding", "python", "javascript", "debugging", "sql"}),
        cost_tier="medium",
    ),
    AgentCapability(
        agent_id="deploy_agent",
        description="Brings software into operation.",
        task_types=("deploy", "release", "infrastructure", "configure"),
        skills=frozenset({"deployment", "infrastructure", "containers"}),
        cost_tier="medium",
    ),
    AgentCapability(
        agent_id="monitor_agent",
        description="Watches systems and raises alerts.",
        task_types=("monitor", "observe", "alert"),
        skills=frozenset({"monitoring", "metrics", "alerting"}),
        cost_tier="cheap",
    ),
    AgentCapability(
        agent_id="security_agent",
        description="Looks for weaknesses and says how to close them.",
        task_types=("security", "audit", "threat_model", "pentest"),
        skills=frozenset({"security", "review", "compliance"}),
        cost_tier="expensive",
    ),
    AgentCapability(
        agent_id="finance_agent",
        description="Budgets, prices and accounts.",
        task_types=("finance", "budget", "invoice", "forecast", "calculate"),
        skills=frozenset({"finance", "accounting", "statistics"}),
        cost_tier="medium",
    ),
    AgentCapability(
        agent_id="hr_agent",
        description="Hires and looks after people.",
        task_types=("hr", "hire", "onboard", "training"),
        skills=frozenset({"hr", "communication", "writing"}),
        cost_tier="cheap",
    ),
    AgentCapability(
        agent_id="seo_agent",
        description="Makes pages easy to find.",
        task_types=("seo", "keywords", "optimize_content"),
        skills=frozenset({"seo", "writing", "analysis"}),
        cost_tier="cheap",
    ),
)
