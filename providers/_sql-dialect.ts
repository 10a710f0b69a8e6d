/** The table of key versions in each database: the Go library's, as near as the database's types allow. */

/** The databases. */
export type DialectName = "sqlite" | "postgresql" | "mysql"

/** What differs between them. */
export interface SQLDialect {
  readonly name: DialectName
  /** What makes the table, one statement each; nothing where it is there. */
  readonly ddl: readonly string[]
  /** Whether a row can be locked; where not, the first write of a transaction locks the whole. */
  readonly locksRows: boolean
  /** `created_at` as seconds since 1970. */
  readonly created: string
  /** The isolation that transactions are given, where the server's own may be another than what they need. */
  readonly isolation?: "read committed"
}

const INDEX = "CREATE INDEX IF NOT EXISTS idx_kek_versions_active ON kek_versions(alias, is_deprecated, version DESC)"

/** The Go library's own text. */
const SQLITE: SQLDialect = {
  name: "sqlite",
  ddl: [
    `CREATE TABLE IF NOT EXISTS kek_versions (
  alias TEXT NOT NULL,
  version INTEGER NOT NULL,
  kms_key_id TEXT NOT NULL,
  is_deprecated BOOLEAN DEFAULT FALSE,
  created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
  updated_at DATETIME DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (alias, version)
)`,
    INDEX,
  ],
  locksRows: false,
  created: "CAST(strftime('%s', created_at) AS INTEGER)",
}

const POSTGRESQL: SQLDialect = {
  name: "postgresql",
  ddl: [
    `CREATE TABLE IF NOT EXISTS kek_versions (
  alias TEXT NOT NULL,
  version INTEGER NOT NULL,
  kms_key_id TEXT NOT NULL,
  is_deprecated BOOLEAN DEFAULT FALSE,
  created_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (alias, version)
)`,
    INDEX,
  ],
  locksRows: true,
  created: "CAST(extract(epoch FROM created_at) AS DOUBLE PRECISION)",
  // The second statement must see what was committed while the first waited.
  isolation: "read committed",
}

const MYSQL: SQLDialect = {
  name: "mysql",
  // A key of the table has a length, and aliases that differ in case are two. Others than InnoDB have no transactions.
  ddl: [
    `CREATE TABLE IF NOT EXISTS kek_versions (
  alias VARCHAR(256) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  version INTEGER NOT NULL,
  kms_key_id VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  is_deprecated BOOLEAN DEFAULT FALSE,
  created_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (alias, version),
  INDEX idx_kek_versions_active (alias, is_deprecated, version DESC)
) ENGINE=InnoDB`,
  ],
  locksRows: true,
  created: "unix_timestamp(created_at)",
}

/** The databases by name. */
export const DIALECTS: Readonly<Record<DialectName, SQLDialect>> = {
  sqlite: SQLITE,
  postgresql: POSTGRESQL,
  mysql: MYSQL,
}
