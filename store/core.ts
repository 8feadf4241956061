import type { KekSpec } from '../api/bootstrap.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { StateFiles } from '../lib/stateDir.ts';
import { Admission } from './admission.ts';
import { Audit } from './audit/audit.ts';
import { readAuditConfig } from './audit/export/config.ts';
import { AuditExports } from './audit/export/exports.ts';
import { AuditHeadFile } from './audit/headFile.ts';
import { Refusals } from './audit/refusals.ts';
import { AuditRetention } from './audit/retention.ts';
import { AuditSigner } from './audit/signer.ts';
import { UsageRecorder } from './audit/usage.ts';
import { requireRestored } from './backup/importRows.ts';
import type { Settings } from './config.ts';
import { CaRotation } from './identity/caRotation.ts';
import { CertificateAuthority } from './identity/certificateAuthority.ts';
import { Identities } from './identity/identities.ts';
import { JoinTokens } from './identity/joinTokens.ts';
import { Peers } from './identity/peer.ts';
import { Leases } from './leases.ts';
import { Materials } from './material/materials.ts';
import { Rotation } from './material/rotation.ts';
import { StoreMetrics } from './metrics/storeMetrics.ts';
import { Objects } from './objects.ts';
import { openRepository } from './persist/open.ts';
import { Hub } from './push/hub.ts';
import { Openings } from './push/openings.ts';
import { RateLimit } from './rateLimit.ts';
import { RefusedJoins } from './refusedJoins.ts';
import { Revocations } from './revocation/revocations.ts';
import { SessionLimits } from './sessionLimits.ts';
import { Sessions } from './sessions.ts';
import { State } from './state.ts';
import { KekRotation } from './vault/kekRotation.ts';
import { KekWatch } from './vault/kekWatch.ts';
import { fetchingKeys } from './vault/keyNotAtHand.ts';
import { openVault, requireKekFile } from './vault/openVault.ts';
import type { Vault } from './vault/vault.ts';

/** How long records of what is over (identities, sessions, leases) are kept beside the audit. */
const KEEP_MS = 3_600_000;
const PRUNE_MS = 60_000;
/** How long one replica does the work that falls due for all; another takes over once it is that long silent. */
const UPKEEP_SECONDS = 10;

export type Store = Awaited<ReturnType<typeof openCore>>;

/** Everything of a store but its listeners. @throws StoreSealed, any StoreErrorCode with status 0 */
export async function openCore(options: {
  files: StateFiles;
  databaseUrl?: string | undefined;
  /** The key file of the state directory unless it says otherwise. */
  kek?: KekSpec | undefined;
  clock: Clock;
  log: Logger;
  settings: Settings;
  fatal: (error: Error) => void;
  metrics?: StoreMetrics | undefined;
}) {
  const { metrics = new StoreMetrics() } = options;
  const { databaseUrl, files, clock, log, settings, fatal } = options;
  const spec = options.kek ?? { file: files.kek };
  requireKekFile(spec, files);
  const repository = fetchingKeys(await openRepository({ files, databaseUrl, log, fatal }));
  let opened: Vault | undefined;
  try {
    await requireRestored(repository);
    const { dataKeySeconds, dataKeyLimit, kekRotationBatch: batch } = settings;
    const vault = await openVault({ repository, spec, stateDir: files.dir, clock, log, dataKeySeconds, dataKeyLimit });
    opened = vault;
    const signer = await AuditSigner.load(repository, vault);
    const headFile = new AuditHeadFile({
      path: files.auditHead,
      intervalMs: settings.headFileMs,
      log,
      chain: repository.chain,
    });
    await headFile.check(repository, signer.publicKeyPem);
    const { intermediateSeconds } = settings;
    const ca = await CertificateAuthority.load({ repository, vault, clock, log, intermediateSeconds });
    const snapshot = await repository.load();

    const state = new State(snapshot, clock);
    const audit = new Audit({ clock, repository, vault, signer });
    await audit.followKey();
    const { exports, retention } = readAuditConfig(files.auditConfig);
    const auditExports = new AuditExports(exports, { audit, repository, clock, log });
    const auditRetention = new AuditRetention({ audit, clock, repository, retention });
    const usage = new UsageRecorder({ clock, audit });
    const refusalLimit = new RateLimit({ clock, burst: settings.refusalBurst, perSecond: settings.refusalsPerSecond });
    const refusals = new Refusals({ audit, limit: refusalLimit, log });
    const { trustDomain, certificateSeconds } = settings;
    const identities = new Identities({ clock, trustDomain, seconds: certificateSeconds, snapshot });
    const peers = new Peers({ identities, ca });
    const joinTokens = new JoinTokens({ clock, seconds: settings.joinTokenSeconds, limit: settings.joinTokenLimit });
    const admission = new Admission({ peers, settings });
    const limits = new SessionLimits({ clock, settings });
    const sessions = new Sessions({ clock, settings, repository, audit, ca, identities, joinTokens, limits, state });
    const materials = new Materials({ clock, repository, vault, audit });
    const rotation = new Rotation({ clock, state, repository, materials });
    const objects = new Objects({ repository, state, audit, materials });
    const leases = new Leases({ clock, limits, repository, audit, refusals, state, identities, materials });
    const revocations = new Revocations({ clock, repository, audit, state, identities, sessions });
    const hub = new Hub({
      state,
      streamsPerSession: settings.streamsPerSession,
      pushed: (ms) => metrics.pushed(ms),
    });
    const caRotation = new CaRotation({ clock, repository, vault, audit, ca, identities, times: settings });
    ca.onChange((ofTrust) => {
      if (ofTrust) hub.renewAll(settings.renewSpreadSeconds);
    });

    // In this order: what is granted and who lives is known before anybody is told.
    const followers = [
      state,
      ca,
      sessions,
      limits,
      leases,
      rotation,
      hub,
      audit,
      auditExports,
      headFile,
      metrics.follower(clock),
    ];
    repository.onCommit((changes) => {
      for (const follower of followers) {
        if (follower instanceof State) follower.apply(changes);
        else follower.changed(changes);
      }
    });

    // What others revoke meanwhile would not be heard here: their sidecars find another replica, or wait.
    repository.onDetached(() => hub.endStreams());
    const kek = new KekRotation({ repository, vault, audit, clock, log, stateDir: files.dir, batch });
    const kekWatch = new KekWatch({ repository, vault, audit, clock, rotation: kek });
    repository.onCommit((changes) => kekWatch.changed(changes));
    await kek.resume();

    auditExports.start();
    let pruneAtMs = 0;
    let leader = false;
    const drain = new AbortController();
    return {
      clock,
      settings,
      repository,
      vault,
      kek,
      state,
      audit,
      auditExports,
      usage,
      refusals,
      identities,
      peers,
      ca,
      caRotation,
      joinTokens,
      sessions,
      materials,
      objects,
      leases,
      revocations,
      limits,
      admission,
      hub,
      openings: {
        streams: new Openings({ clock, perSecond: settings.streamsPerSecond }),
        joins: new Openings({ clock, perSecond: settings.joinsPerSecond }),
      },
      refusedJoins: new RefusedJoins(clock),
      /** Whether this process does the work that falls due for all replicas. */
      get leader() {
        return leader;
      },
      /** Work that falls due with time. */
      tick: async () => {
        await kekWatch.tick();
        const pruneNow = clock.monotonicMs() >= pruneAtMs;
        if (pruneNow) {
          pruneAtMs = clock.monotonicMs() + PRUNE_MS;
          await audit.followKey();
          await auditRetention.tick();
        }
        leader = await repository.holdWork('upkeep', UPKEEP_SECONDS);
        if (!leader) {
          identities.expire();
          return;
        }
        await sessions.expire();
        await rotation.tick();
        await caRotation.tick();
        if (!pruneNow) return;
        await revocations.prune();
        await repository.transaction((tx) => tx.prune(clock.nowMs() - KEEP_MS));
        await repository.compact?.();
      },
      /** Aborts when what would go on for ever (event streams, followed audits) has to end. */
      draining: drain.signal,
      drain: () => {
        hub.close();
        drain.abort();
      },
      close: async () => {
        hub.close();
        await kek.close();
        await auditExports.close();
        await repository.close();
        headFile.close();
        vault.close();
      },
    };
  } catch (error) {
    opened?.close();
    await repository
      .close()
      .catch((failure: unknown) => log.warn({ error: errorText(failure) }, 'the database did not close'));
    throw error;
  }
}
