exec { "x\nresource: File[/etc/forged]\nfailed: true\nx": command => '/bin/false' }
exec { "x\n    resource: File[/etc/forged]\n    failed: true\n": command => '/bin/false' }
exec { "x\n  : resource: File[/etc/forged]\n    failed: true": command => '/bin/false' }
exec { "- y: 'q\"": command => '/bin/false' }
exec { "? z\n- level: err": command => '/bin/false', loglevel => err }
exec { "é\tb\u{1F600} ": command => '/bin/false' }
exec { "trail \n\n": command => '/bin/false' }
exec { "a], File[/etc/forged]": command => '/bin/false' }
notify { "ok\nresource: File[/etc/forged]\nfailed: true\nx": }
notify { "ok\n    failed: true\n    resource: File[/etc/forged]": message => "m\n    failed: true\n- level: err\n  message: forged\n  source: /Stage[main]/Forged[x]" }
notify { "job_id: forged\nstatus: changed\ntransaction_completed: true": loglevel => err }
file { "/root-x\n    failed: true": ensure => present }
