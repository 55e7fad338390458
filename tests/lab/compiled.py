"""Hooks that compile Puppet and its servers once, in an image, and not at each of their starts."""

from __future__ import annotations

# Puppet is 700 files, and Ruby compiles them at each start. In these images each file is compiled once: CPU
# time of a small run 1.5 instead of 2.0 s, of `puppet config print` 0.4 instead of 0.8. RubyGems loads this
# program before Puppet, without a variable that a run would inherit. A changed file is compiled as ever.
COMPILED = "/var/lib/compiled-ruby"
COMPILED_RUBY = f"""
class << RubyVM::InstructionSequence
  def compiled(path)
    info = File.stat(path)
    "{COMPILED}/#{{path.tr('/', '%')}}.#{{info.mtime.to_i}}.#{{info.size}}"
  end

  def load_iseq(path)
    load_from_binary(File.binread(compiled(path)))
  rescue StandardError
    nil
  end
end
"""
COMPILE_RUBY = f"""
Dir.mkdir("{COMPILED}")
Dir["/usr/lib/ruby/**/*.rb", "/usr/share/rubygems-integration/**/*.rb"].each do |path|
  code = RubyVM::InstructionSequence.compile_file(path).to_binary
  File.binwrite(RubyVM::InstructionSequence.compiled(path), code)
rescue SyntaxError, SystemCallError
  next # a template, or a link to nothing
end
"""
# Facter asks Augeas for its version, for which Augeas reads all its lenses: another 0.5 s of CPU time of each
# run. No test needs this fact.
NO_AUGEAS = 'facts : { blocklist : [ "augeas" ] }'
QUICK_PUPPET = (
    f'mkdir "$1/etc/facter"; echo \'{NO_AUGEAS}\' >"$1/etc/facter/facter.conf"',
    "cat >>\"$1/usr/lib/ruby/vendor_ruby/rubygems/defaults/operating_system.rb\" <<'END'\n"
    + COMPILED_RUBY
    + "END",
    "chroot \"$1\" ruby - <<'END'\n" + COMPILE_RUBY + "END",
)

# A puppetserver and PuppetDB are programs in Clojure, which Debian ships as source: each start compiles them
# with all their libraries. Compiled once, a start takes 12 s of CPU time instead of 24, and of PuppetDB 17
# instead of 25. What they do is the same; Clojure takes a class if it is newer than its source.
COMPILE_CLOJURE = """
(require '[clojure.string :as string])
(let [[main services] *command-line-args*
      lines (mapcat (comp string/split-lines slurp)
                    (filter #(.isFile %) (file-seq (java.io.File. services))))
      spaces (keep #(second (re-find #"^([a-z][^/]*)/" %)) lines)]
  (assert (seq spaces))
  (binding [*compile-path* "/root/classes"]
    (run! (comp compile symbol) (cons main (distinct spaces)))))
(shutdown-agents)
"""
# The classes as a jar beside that of the package, and in place of the latter one that names both. A program
# is found in it by `-jar` and by `-cp`, as the units of the packages start it.
PUT_JARS = """
import os, sys, zipfile
jar, main = sys.argv[1:]
package, classes = jar[:-4] + "-package.jar", jar[:-4] + "-classes.jar"
os.rename(os.path.realpath(jar), package)
with zipfile.ZipFile(classes, "w") as archive:
    for directory, _, names in os.walk("/root/classes"):
        for name in names:
            path = os.path.join(directory, name)
            archive.write(path, os.path.relpath(path, "/root/classes"))
if os.path.islink(jar):
    os.unlink(jar)
with zipfile.ZipFile(jar, "w") as archive:
    paths = " ".join(map(os.path.basename, (classes, package)))
    manifest = f"Manifest-Version: 1.0\\nMain-Class: {main}\\nClass-Path: {paths}\\n"
    archive.writestr("META-INF/MANIFEST.MF", manifest)
"""


def _compile(jar: str, main: str, services: str) -> str:
    """Return the hook that compiles a program; `services` has the names of its parts, in a file or files."""
    java = f"java -Djruby.lib=/usr/share/jruby/lib -cp /root/classes:{jar} clojure.main /root/compile.clj"
    return (
        "set -e\n"  # mmdebstrap looks at the status of the last command
        f"cat >\"$1/root/compile.clj\" <<'END'\n{COMPILE_CLOJURE}END\n"
        f"cat >\"$1/root/put_jars.py\" <<'END'\n{PUT_JARS}END\n"
        'mkdir "$1/root/classes"\n'
        f'chroot "$1" {java} {main} {services} >&2\n'
        f'chroot "$1" python3 /root/put_jars.py {jar} {main}\n'
        'rm -r "$1/root/classes" "$1/root/compile.clj" "$1/root/put_jars.py"'
    )


QUICK_SERVERS = (
    _compile(
        "/usr/share/puppetserver/puppetserver.jar",
        "puppetlabs.trapperkeeper.main",
        "/etc/puppet/puppetserver/services.d",
    ),
    _compile("/usr/share/puppetdb/puppetdb.jar", "puppetlabs.puppetdb.core", "/etc/puppetdb/bootstrap.cfg"),
)
