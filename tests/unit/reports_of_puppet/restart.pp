notify { 'n': } ~> exec { 'ref': command => '/bin/false', refreshonly => true }
