#!/bin/sh
# Build the package `by-hand`, with a service that its installation restarts, and let apt find nothing else.
set -e
repository=/root/repository
package=/root/package
mkdir -p "$repository" "$package/DEBIAN" "$package/lib/systemd/system"
cat >"$package/DEBIAN/control" <<'EOF'
Package: by-hand
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.com>
Description: a service
EOF
cat >"$package/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
systemctl daemon-reload
systemctl restart by-hand.service
# Left behind, as by a package that starts its daemon itself.
sleep 3000 >/dev/null 2>&1 &
EOF
chmod 755 "$package/DEBIAN/postinst"
cat >"$package/lib/systemd/system/by-hand.service" <<'EOF'
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
EOF
cd "$repository"
dpkg-deb --build "$package" by-hand.deb
{
    cat "$package/DEBIAN/control"
    echo "Filename: ./by-hand.deb"
    echo "Size: $(stat -c %s by-hand.deb)"
    echo "SHA256: $(sha256sum by-hand.deb | cut -d ' ' -f 1)"
} >Packages
cp -a /etc/apt /root/apt
rm -rf /etc/apt/sources.list.d
echo "deb [trusted=yes] file:$repository ./" >/etc/apt/sources.list
apt-get update
