import type { Fields } from '../http1/fields.ts';
import type { CompiledRules } from './rules.ts';

const OF_METHODS: ReadonlySet<string> = new Set(['x-http-method', 'x-http-method-override', 'x-method-override']);
const OF_TARGETS: ReadonlySet<string> = new Set(['x-original-uri', 'x-original-url', 'x-rewrite-url']);

/**
 * The field by which a request asks frameworks for another method or path than its request line names, where rules are about those.
 *
 * Google's APIs take `X-HTTP-Method-Override`, IIS and Symfony `X-Original-URL` and `X-Rewrite-URL`.
 */
export function overridingField(fields: Fields, { hasMethods, hasPaths }: CompiledRules): string | undefined {
  if (!hasMethods && !hasPaths) return undefined;
  return fields.keys.find((key) => {
    // CGI and what came after make the same of both (RFC 3875 section 4.1.18).
    const name = key.includes('_') ? key.replaceAll('_', '-') : key;
    return (hasMethods && OF_METHODS.has(name)) || (hasPaths && OF_TARGETS.has(name));
  });
}
