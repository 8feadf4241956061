import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Change, Repository } from '../../persist/repository.ts';
import type { Audit } from '../audit.ts';
import type { ExportConfig } from './config.ts';
import { AuditExporter, type ExportLag } from './exporter.ts';
import { FileSink } from './fileSink.ts';
import { OtlpSink } from './otlpSink.ts';
import type { AuditSink } from './sink.ts';
import { SyslogSink } from './syslogSink.ts';

/** All receivers that this process sends its chain of the audit to. */
export class AuditExports {
  readonly #exporters: AuditExporter[];

  constructor(
    configs: readonly ExportConfig[],
    options: { audit: Audit; repository: Repository; clock: Clock; log: Logger },
  ) {
    this.#exporters = configs.map(
      (config) => new AuditExporter({ ...options, name: config.name, sink: sinkOf(config, options) }),
    );
  }

  start(): void {
    for (const exporter of this.#exporters) exporter.start();
  }

  changed(changes: readonly Change[]): void {
    for (const exporter of this.#exporters) exporter.changed(changes);
  }

  /** How far each is behind, for metrics. */
  lag(): ExportLag[] {
    return this.#exporters.map((exporter) => exporter.lag());
  }

  async close(): Promise<void> {
    await Promise.all(this.#exporters.map((exporter) => exporter.close()));
  }
}

function sinkOf({ file, format, otlp, syslog }: ExportConfig, options: { clock: Clock; log: Logger }): AuditSink {
  if (file !== undefined) return new FileSink(file, format);
  if (syslog !== undefined) return new SyslogSink(syslog, format);
  return new OtlpSink(otlp!, options);
}
