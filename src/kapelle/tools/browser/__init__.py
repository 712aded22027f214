"""A browser for agents: pages as text with numbers, within the hosts that are allowed. An extra: `kapelle[browser]`."""

from .browser import GET_CHROMIUM as GET_CHROMIUM
from .browser import GET_PLAYWRIGHT as GET_PLAYWRIGHT
from .browser import Browser as Browser
from .browser import find_chromium as find_chromium
from .hosts import AllowedHosts as AllowedHosts
from .limits import BrowserLimits as BrowserLimits
from .reading import PageElement as PageElement
from .reading import PageReading as PageReading
from .session import BrowserSession as BrowserSession
