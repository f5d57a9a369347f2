# A whole configuration in nginx's grammar, as one service of a larger application.
#
#     twistd -n --pidfile= -y edge.tac

from twisted.application.service import Application

from sniproxy.service.main import ProxyService

application = Application("edge")
proxy = ProxyService("edge.conf")
proxy.setServiceParent(application)
