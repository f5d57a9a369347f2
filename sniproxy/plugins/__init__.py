"""
Where modules are found: any C{sniproxy/plugins} folder on the path may hold files with L{sniproxy.interfaces.IModule}s.

Such a folder of another package has no C{__init__.py}; a file in it holds instances, and nothing else unless the module
is so small that it is one file.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))

__all__: list[str] = []
