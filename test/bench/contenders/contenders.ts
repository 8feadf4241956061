import type { ToolName } from '../tools.ts';
import type { Contender } from './contender.ts';
import { direct } from './direct.ts';
import { envoy } from './envoy.ts';
import { haproxy } from './haproxy.ts';
import { nginx } from './nginx.ts';
import { sidekey } from './sidekey.ts';

/** Who takes part, in the order of the columns, and the tool without which it cannot. */
export const CONTENDERS: readonly (Contender & { tool?: ToolName })[] = [
  direct,
  { ...nginx, tool: 'nginx' },
  { ...haproxy, tool: 'haproxy' },
  { ...envoy, tool: 'envoy' },
  sidekey,
];
