-- The pharmacy and claims system: Synthea's table and column names in lower
-- case, with types, keys and foreign keys. Columns and tables marked "added"
-- are not in Synthea's files; the loader derives them from the row's own keys.
-- No foreign key cascades: what a cascade changes is not in the binlog.

CREATE TABLE payers (
    id                       CHAR(36) CHARACTER SET ascii PRIMARY KEY,
    name                     VARCHAR(200) NOT NULL,
    ownership                VARCHAR(40),
    address                  VARCHAR(200),
    city                     VARCHAR(100),
    state_headquartered      VARCHAR(40),
    zip                      VARCHAR(20),
    phone                    VARCHAR(80),
    amount_covered           DECIMAL(16, 2),
    amount_uncovered         DECIMAL(16, 2),
    revenue                  DECIMAL(16, 2),
    covered_encounters       INT UNSIGNED,
    uncovered_encounters     INT UNSIGNED,
    covered_medications      INT UNSIGNED,
    uncovered_medications    INT UNSIGNED,
    covered_procedures       INT UNSIGNED,
    uncovered_procedures     INT UNSIGNED,
    covered_immunizations    INT UNSIGNED,
    uncovered_immunizations  INT UNSIGNED,
    unique_customers         INT UNSIGNED,
    qols_avg                 DOUBLE,
    member_months            INT UNSIGNED
);

CREATE TABLE payer_transitions (
    id              CHAR(36) CHARACTER SET ascii PRIMARY KEY, -- added
    patient         CHAR(36) CHARACTER SET ascii NOT NULL,
    memberid        CHAR(36) CHARACTER SET ascii,
    start_date      DATETIME NOT NULL,
    end_date        DATETIME,
    payer           CHAR(36) CHARACTER SET ascii NOT NULL,
    secondary_payer CHAR(36) CHARACTER SET ascii,
    plan_ownership  ENUM ('Self', 'Spouse', 'Guardian'),
    owner_name      VARCHAR(200),
    INDEX (patient),
    FOREIGN KEY (payer) REFERENCES payers (id),
    FOREIGN KEY (secondary_payer) REFERENCES payers (id)
);

CREATE TABLE medications (
    id                CHAR(36) CHARACTER SET ascii PRIMARY KEY, -- added
    start             DATETIME NOT NULL,
    stop              DATETIME,
    patient           CHAR(36) CHARACTER SET ascii NOT NULL,
    payer             CHAR(36) CHARACTER SET ascii,
    encounter         CHAR(36) CHARACTER SET ascii NOT NULL,
    code              VARCHAR(20) NOT NULL,
    description       VARCHAR(400),
    base_cost         DECIMAL(14, 2),
    payer_coverage    DECIMAL(14, 2),
    dispenses         INT UNSIGNED,
    totalcost         DECIMAL(14, 2),
    reasoncode        VARCHAR(20),
    reasondescription VARCHAR(400),
    prescriber        CHAR(36) CHARACTER SET ascii NOT NULL, -- added: the encounter's provider
    INDEX (patient),
    FOREIGN KEY (payer) REFERENCES payers (id)
);

-- added: what the pharmacy handed over, up to DISPENSES times, a month apart
CREATE TABLE fills (
    id            CHAR(36) CHARACTER SET ascii PRIMARY KEY,
    medication    CHAR(36) CHARACTER SET ascii NOT NULL,
    patient       CHAR(36) CHARACTER SET ascii NOT NULL,
    organization  CHAR(36) CHARACTER SET ascii NOT NULL, -- the encounter's organization
    dispensed     DATETIME NOT NULL,
    refill_number SMALLINT UNSIGNED NOT NULL, -- 0 for the first fill
    days_supply   SMALLINT UNSIGNED NOT NULL,
    quantity      DECIMAL(8, 2) NOT NULL,
    daw           TINYINT UNSIGNED NOT NULL,
    code          VARCHAR(20) NOT NULL, -- RxNorm, as the order's
    ndc           CHAR(11) CHARACTER SET ascii,
    description   VARCHAR(400),
    INDEX (patient),
    FOREIGN KEY (medication) REFERENCES medications (id)
);

CREATE TABLE claims (
    id                          CHAR(36) CHARACTER SET ascii PRIMARY KEY,
    patientid                   CHAR(36) CHARACTER SET ascii NOT NULL,
    providerid                  CHAR(36) CHARACTER SET ascii,
    primarypatientinsuranceid   CHAR(36) CHARACTER SET ascii,
    secondarypatientinsuranceid CHAR(36) CHARACTER SET ascii,
    departmentid                VARCHAR(10),
    patientdepartmentid         VARCHAR(10),
    diagnosis1                  VARCHAR(20),
    diagnosis2                  VARCHAR(20),
    diagnosis3                  VARCHAR(20),
    diagnosis4                  VARCHAR(20),
    diagnosis5                  VARCHAR(20),
    diagnosis6                  VARCHAR(20),
    diagnosis7                  VARCHAR(20),
    diagnosis8                  VARCHAR(20),
    referringproviderid         CHAR(36) CHARACTER SET ascii,
    appointmentid               CHAR(36) CHARACTER SET ascii,
    currentillnessdate          DATETIME,
    servicedate                 DATETIME,
    supervisingproviderid       CHAR(36) CHARACTER SET ascii,
    status1                     VARCHAR(20),
    status2                     VARCHAR(20),
    statusp                     VARCHAR(20),
    outstanding1                DECIMAL(14, 2),
    outstanding2                DECIMAL(14, 2),
    outstandingp                DECIMAL(14, 2),
    lastbilleddate1             DATETIME,
    lastbilleddate2             DATETIME,
    lastbilleddatep             DATETIME,
    healthcareclaimtypeid1      TINYINT UNSIGNED,
    healthcareclaimtypeid2      TINYINT UNSIGNED,
    claim_number                CHAR(13) CHARACTER SET ascii NOT NULL UNIQUE, -- added, as is all that follows
    coverage                    CHAR(36) CHARACTER SET ascii, -- payer_transitions: what it was adjudicated under
    network                     ENUM ('in', 'out', 'none') NOT NULL, -- the provider's place in the payer's network
    icd1                        VARCHAR(8), -- ICD-10-CM of diagnosis1, and so on
    icd2                        VARCHAR(8),
    icd3                        VARCHAR(8),
    icd4                        VARCHAR(8),
    icd5                        VARCHAR(8),
    icd6                        VARCHAR(8),
    icd7                        VARCHAR(8),
    icd8                        VARCHAR(8),
    prescription                CHAR(36) CHARACTER SET ascii, -- medications; here and below: pharmacy claims only
    days_supply                 SMALLINT UNSIGNED,
    refill_number               SMALLINT UNSIGNED,
    refills_authorized          SMALLINT UNSIGNED,
    daw                         TINYINT UNSIGNED,
    CHECK ((diagnosis1 IS NULL) = (icd1 IS NULL) AND (diagnosis2 IS NULL) = (icd2 IS NULL)),
    CHECK ((diagnosis3 IS NULL) = (icd3 IS NULL) AND (diagnosis4 IS NULL) = (icd4 IS NULL)),
    CHECK ((diagnosis5 IS NULL) = (icd5 IS NULL) AND (diagnosis6 IS NULL) = (icd6 IS NULL)),
    CHECK ((diagnosis7 IS NULL) = (icd7 IS NULL) AND (diagnosis8 IS NULL) = (icd8 IS NULL)),
    INDEX (patientid)
);

CREATE TABLE claims_transactions (
    id                    CHAR(36) CHARACTER SET ascii PRIMARY KEY,
    claimid               CHAR(36) CHARACTER SET ascii NOT NULL,
    chargeid              INT NOT NULL,
    patientid             CHAR(36) CHARACTER SET ascii NOT NULL,
    type                  ENUM ('CHARGE', 'PAYMENT', 'TRANSFERIN', 'TRANSFEROUT') NOT NULL,
    amount                DECIMAL(14, 2),
    method                VARCHAR(20),
    fromdate              DATETIME,
    todate                DATETIME,
    placeofservice        CHAR(36) CHARACTER SET ascii,
    procedurecode         VARCHAR(20),
    modifier1             VARCHAR(10),
    modifier2             VARCHAR(10),
    diagnosisref1         TINYINT UNSIGNED,
    diagnosisref2         TINYINT UNSIGNED,
    diagnosisref3         TINYINT UNSIGNED,
    diagnosisref4         TINYINT UNSIGNED,
    units                 INT,
    departmentid          VARCHAR(10),
    notes                 VARCHAR(500),
    unitamount            DECIMAL(14, 2),
    transferoutid         VARCHAR(40),
    transfertype          VARCHAR(10),
    payments              DECIMAL(14, 2),
    adjustments           DECIMAL(14, 2),
    transfers             DECIMAL(14, 2),
    outstanding           DECIMAL(14, 2),
    appointmentid         CHAR(36) CHARACTER SET ascii,
    linenote              VARCHAR(500),
    patientinsuranceid    CHAR(36) CHARACTER SET ascii,
    feescheduleid         VARCHAR(10),
    providerid            CHAR(36) CHARACTER SET ascii,
    supervisingproviderid CHAR(36) CHARACTER SET ascii,
    line_number           INT UNSIGNED, -- added, as is all that follows: the line of the claim that this belongs to
    paid_by               ENUM ('primary', 'secondary', 'patient'), -- of a PAYMENT
    hcpcs                 CHAR(5) CHARACTER SET ascii, -- here and below: of a CHARGE
    ndc                   CHAR(11) CHARACTER SET ascii, -- of a drug
    revenue_code          CHAR(4) CHARACTER SET ascii, -- NUBC
    place_code            CHAR(2) CHARACTER SET ascii, -- CMS place of service
    CHECK ((type = 'PAYMENT') = (paid_by IS NOT NULL)),
    INDEX (claimid),
    FOREIGN KEY (claimid) REFERENCES claims (id)
);
