"""The web page: rendered here, read in a browser; charts by Plotly, whose script is served from its wheel."""

from api.dashboard import access, accuracy, assets, costs, engines, findings, frames, overview, reports

ROUTERS = (
    overview.router,
    findings.router,
    frames.router,
    reports.router,
    costs.router,
    engines.router,
    accuracy.router,
    access.router,
    assets.router,
)
