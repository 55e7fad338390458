# Copyright (c) 2026 The puppet-twitch developers
# SPDX-License-Identifier: MIT

"""What the Bolt tasks of this module have in common. Only Python's standard library is needed."""
