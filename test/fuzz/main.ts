import { parseArgs } from 'node:util';
import { fuzzAuthority } from './authority.ts';
import { fuzzClientHello } from './clientHello.ts';
import { fuzzCodec } from './codec.ts';
import { fuzzYaml } from './yaml.ts';

const TARGETS = { codec: fuzzCodec, authority: fuzzAuthority, clientHello: fuzzClientHello, yaml: fuzzYaml } as const;

/** `make fuzz`: each target for its share of the time, from a seed that a failure prints. */
const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' }, target: { type: 'string' } },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
const names = (Object.keys(TARGETS) as (keyof typeof TARGETS)[]).filter((name) => name === (values.target ?? name));
if (names.length === 0)
  throw new RangeError(`no target ${values.target}; there are ${Object.keys(TARGETS).join(', ')}`);
for (const name of names) {
  const seconds = Number(values.seconds) / names.length;
  console.log(`${name}: ${Math.round(seconds)} s from seed ${seed}`);
  await TARGETS[name](seconds, seed);
}
