genfail { 'x': } notify { 'a': }
