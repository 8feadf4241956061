import { type Refusal, refuse } from '../errors.ts';
import { isThisMachine, judgeAddress } from './addresses.ts';
import type { Addresses } from './resolve.ts';
import type { Target } from './target.ts';

/**
 * The addresses of a target that may be dialled, in their order: unfit ones are left out, and if none is left the target is refused.
 *
 * Our own listeners are never dialled, credential or not. What is returned is what gets dialled, so a name that resolves to
 * something else a moment later (DNS rebinding) changes nothing.
 */
export function checkAddresses(
  target: Pick<Target, 'authority' | 'credentialed' | 'networks'>,
  addresses: Addresses,
  ownPorts: ReadonlySet<number>,
): Addresses | Refusal {
  const { host, port } = target.authority;
  let refusal: Refusal | undefined;
  const fit = addresses.filter(({ address }) => {
    if (ownPorts.has(port) && isThisMachine(address)) {
      refusal ??= refuse('LoopDetected', `${host}:${port} is the sidecar itself`);
      return false;
    }
    const purpose = target.credentialed ? judgeAddress(address, target.networks) : undefined;
    if (purpose === undefined) return true;
    refusal ??= refuse(
      'AddressRefused',
      purpose === 'metadata'
        ? `${host} leads to ${address}, a metadata service; only its very address in allowedNetworks (/32 or /128) allows it`
        : `${host} leads to ${address}, a ${purpose} address that allowedNetworks of the Integration does not name`,
    );
    return false;
  });
  return fit.length > 0 || refusal === undefined ? fit : refusal;
}
