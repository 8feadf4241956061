/** How a cluster and a release in it are named, on every command of `kubectl sidekey`. */
export interface ClusterFlags {
  kubeconfig?: string;
  context?: string;
  systemNamespace?: string;
}

const NAMES: Readonly<Record<string, keyof ClusterFlags>> = {
  '--kubeconfig': 'kubeconfig',
  '--context': 'context',
  '--system-namespace': 'systemNamespace',
};

/** Takes those flags out of the arguments wherever they stand, as kubectl lets them. */
export function takeClusterFlags(args: readonly string[]): { flags: ClusterFlags; rest: string[] } {
  const flags: ClusterFlags = {};
  const rest: string[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at]!;
    if (arg === '--') return { flags, rest: [...rest, ...args.slice(at)] };
    const equals = arg.indexOf('=');
    const name = NAMES[equals < 0 ? arg : arg.slice(0, equals)];
    if (name === undefined) rest.push(arg);
    else if (equals >= 0) flags[name] = arg.slice(equals + 1);
    else if (at + 1 < args.length) flags[name] = args[++at]!;
    // Without its value it is left for the parser to refuse.
    else rest.push(arg);
  }
  return { flags, rest };
}
