"""The two shell scripts of the Flux policy: one installs Flux beside the training image, one starts it there.

Where things lie is a contract between the two and with the images called flux-view, whose Spack view is below
/opt/views/._view and whose packages are in /opt/software. The training image needs bash and coreutils.
"""

from dataclasses import dataclass

#: As a rule one line says one thing; what differs from job to job comes in by @NAME@.
_INSTALLER = """\
#!/bin/bash
# Runs in the image with Flux, before training: copies Flux to the volume that both containers have, and configures it.
set -eu
root=/mnt/flux
config=$root/config
mkdir -p "$root/view" "$config/etc/flux/config" "$config/etc/flux/system/cron.d" "$config/etc/curve" \\
  "$config/run/flux" "$config/var/lib/flux"

echo "copying Flux to $root"
for view in /opt/views/._view/*/; do
  cp -R "$view". "$root/view"
done
cp -R /opt/software "$root/"

printf '%s\\n' '@HOSTS@' >"$config/etc/flux/system/hostlist"
cat >"$config/etc/flux/config/broker.toml" <<'END_OF_BROKER_CONFIG'
[access]
allow-guest-user = true
allow-root-owner = true

[bootstrap]
curve_cert = "/mnt/flux/config/etc/curve/curve.cert"
default_port = 8050
default_bind = "tcp://@DEVICE@:%p"
default_connect = "tcp://%h.@DOMAIN@:%p"
hosts = [{ host = "@HOSTS@" }]

[resource]
path = "/mnt/flux/config/etc/flux/system/R"

[archive]
dbpath = "/mnt/flux/config/var/lib/flux/job-archive.sqlite"
period = "1m"
busytimeout = "50s"

[sched-fluxion-qmanager]
queue-policy = "@QUEUE_POLICY@"
END_OF_BROKER_CONFIG
echo "Flux is ready for @HOSTS@"
"""

_ENTRYPOINT = """\
#!/bin/bash
# Runs in the training image: node 0 starts a Flux instance and runs the command in it, the other nodes join.
root=/mnt/flux
view=$root/view
config=$root/config
command=$*

# Programs of the view were linked where Spack had them. Started again, this finds them there.
cp -Ru "$root/software/." /opt/software/

# Flux brings its own Python. What the image has of the same name goes first.
for python in "$view"/lib/python3*; do
  if [ -d "$python" ]; then
    export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$python/site-packages"
  fi
done
export PATH="$PATH:$view/bin"
export FLUX_RC_EXTRA=$view/etc/flux/rc1.d

# Brokers take no certificate that others could read, and a mounted Secret cannot be changed.
mkdir -p "$config/etc/curve" "$config/etc/flux/system/cron.d" "$config/run/flux" "$config/var/lib/flux"
cp /curve/curve.cert "$config/etc/curve/curve.cert"
chmod 600 "$config/etc/curve/curve.cert"

flux R encode --hosts="$(cat "$config/etc/flux/system/hostlist")" @RESOURCES@ >"$config/etc/flux/system/R" || exit

options=(
  -Scron.directory="$config/etc/flux/system/cron.d"
  -Stbon.fanout=256
  -Srundir="$config/run/flux"
  -Sstatedir="$config/var/lib/flux"
  -Slocal-uri="local://$config/run/flux/local"
  -Slog-stderr-level=0
  -Slog-stderr-mode=local
)

if [ "$(uname -n)" != '@LEADER@' ]; then
  until flux start -o --config "$config/etc/flux/config" "${options[@]}"; do
    echo "the broker ended with $?; it joins again in 15 seconds"
    sleep 15
  done
  exit 0
fi

if [ -z "$command" ]; then
  exec flux broker --config-path "$config/etc/flux/config" "${options[@]}"
fi

# The other nodes leave when the command has ended: started once more it would wait for them for ever.
ended=$root/command-ended
if [ -f "$ended" ]; then
  echo "the command has ended before, with $(cat "$ended"): it cannot run again without the other nodes"
  exit "$(cat "$ended")"
fi
# The command is split into words here, and by nothing else: quotes in it are part of the words.
# shellcheck disable=SC2086
flux start -o --config "$config/etc/flux/config" "${options[@]}" flux run @FLAGS@ $command
code=$?
echo "$code" >"$ended"
exit "$code"
"""


@dataclass(frozen=True)
class Instance:
    """What the scripts of one job say. `gpus` are those of a node."""

    name: str
    namespace: str
    nodes: int
    tasks_per_node: int
    gpus: int
    network_device: str
    queue_policy: str

    @property
    def hosts(self) -> str:
        """The nodes' host names as one Flux host list."""
        return f"{self.name}-node-0-[{_write_range(self.nodes)}]"

    @property
    def resources(self) -> str:
        """The options of `flux R encode` for what a node has."""
        gpus = f" --gpu={_write_range(self.gpus)}" if self.gpus else ""
        return f"--cores={_write_range(self.tasks_per_node)}{gpus}"

    @property
    def run_flags(self) -> str:
        """The options of `flux run`."""
        gpus = f" -g {self.gpus}" if self.gpus else ""
        return f"-N {self.nodes} -n {self.nodes * self.tasks_per_node}{gpus}"


def write_installer(instance: Instance) -> str:
    """Write the script of the init container."""
    return _fill(
        _INSTALLER,
        HOSTS=instance.hosts,
        DEVICE=instance.network_device,
        DOMAIN=f"{instance.name}.{instance.namespace}.svc.cluster.local",
        QUEUE_POLICY=instance.queue_policy,
    )


def write_entrypoint(instance: Instance) -> str:
    """Write the script of the node's container; its argument is the command to run."""
    leader = f"{instance.name}-node-0-0"
    return _fill(_ENTRYPOINT, LEADER=leader, RESOURCES=instance.resources, FLAGS=instance.run_flags)


def _fill(script: str, **values: str) -> str:
    for name, value in values.items():
        script = script.replace(f"@{name}@", value)
    return script


def _write_range(count: int) -> str:
    """Write the numbers from zero to one less than `count`."""
    return f"0-{count - 1}" if count > 1 else "0"
