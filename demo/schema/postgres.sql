-- The EMR: Synthea's table and column names in lower case, with types, keys and
-- foreign keys. Columns marked "added" are not in Synthea's files; the loader
-- derives them from the row's own keys.

CREATE TYPE gender AS ENUM ('M', 'F');

CREATE TABLE organizations (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    address     text,
    city        text,
    state       text,
    zip         text,
    lat         numeric,
    lon         numeric,
    phone       text,
    revenue     numeric(14, 2),
    utilization integer
);

CREATE TABLE providers (
    id           uuid PRIMARY KEY,
    organization uuid NOT NULL REFERENCES organizations,
    name         text NOT NULL,
    gender       gender,
    speciality   text,
    address      text,
    city         text,
    state        text,
    zip          text,
    lat          numeric,
    lon          numeric,
    encounters   integer,
    procedures   integer,
    npi          char(10) NOT NULL -- added
);

CREATE TABLE patients (
    id                  uuid PRIMARY KEY,
    birthdate           date NOT NULL,
    deathdate           date,
    ssn                 text,
    drivers             text,
    passport            text,
    prefix              text,
    first               text NOT NULL,
    middle              text,
    last                text NOT NULL,
    suffix              text,
    maiden              text,
    marital             char(1),
    race                text,
    ethnicity           text,
    gender              gender NOT NULL,
    birthplace          text,
    address             text,
    city                text,
    state               text,
    county              text,
    fips                text,
    zip                 text,
    lat                 numeric,
    lon                 numeric,
    healthcare_expenses numeric(14, 2),
    healthcare_coverage numeric(14, 2),
    income              integer,
    phone               text NOT NULL, -- added
    email               text NOT NULL, -- added
    member_number       text,          -- added: for everyone that any payer paid for
    deceased            boolean NOT NULL -- added: deathdate is not null
);

CREATE TABLE encounters (
    id                  uuid PRIMARY KEY,
    start               timestamptz NOT NULL,
    stop                timestamptz,
    patient             uuid NOT NULL REFERENCES patients,
    organization        uuid NOT NULL REFERENCES organizations,
    provider            uuid NOT NULL REFERENCES providers,
    payer               uuid,
    encounterclass      text NOT NULL,
    code                text NOT NULL,
    description         text,
    base_encounter_cost numeric(12, 2),
    total_claim_cost    numeric(12, 2),
    payer_coverage      numeric(12, 2),
    reasoncode          text,
    reasondescription   text
);

CREATE TABLE conditions (
    id          uuid PRIMARY KEY, -- added
    start       date NOT NULL,
    stop        date,
    patient     uuid NOT NULL REFERENCES patients,
    encounter   uuid NOT NULL REFERENCES encounters,
    system      text,
    code        text NOT NULL,
    description text
);

CREATE TABLE allergies (
    id           uuid PRIMARY KEY, -- added
    start        date NOT NULL,
    stop         date,
    patient      uuid NOT NULL REFERENCES patients,
    encounter    uuid NOT NULL REFERENCES encounters,
    code         text NOT NULL,
    system       text,
    description  text,
    type         text,
    category     text,
    reaction1    text,
    description1 text,
    severity1    text,
    reaction2    text,
    description2 text,
    severity2    text
);

CREATE TABLE immunizations (
    id          uuid PRIMARY KEY, -- added
    date        timestamptz NOT NULL,
    patient     uuid NOT NULL REFERENCES patients,
    encounter   uuid NOT NULL REFERENCES encounters,
    code        text NOT NULL,
    description text,
    base_cost   numeric(12, 2)
);

CREATE TABLE procedures (
    id                uuid PRIMARY KEY, -- added
    start             timestamptz NOT NULL,
    stop              timestamptz,
    patient           uuid NOT NULL REFERENCES patients,
    encounter         uuid NOT NULL REFERENCES encounters,
    system            text,
    code              text NOT NULL,
    description       text,
    base_cost         numeric(12, 2),
    reasoncode        text,
    reasondescription text
);

CREATE TABLE observations (
    id          uuid PRIMARY KEY, -- added
    date        timestamptz NOT NULL,
    patient     uuid NOT NULL REFERENCES patients,
    encounter   uuid REFERENCES encounters,
    category    text,
    code        text NOT NULL,
    description text,
    value       text,
    units       text,
    type        text,
    paired      uuid -- added: the other row of the same blood pressure; each of the two names the other
);

-- A row that leaves must say whose it was.
ALTER TABLE encounters    REPLICA IDENTITY FULL;
ALTER TABLE conditions    REPLICA IDENTITY FULL;
ALTER TABLE allergies     REPLICA IDENTITY FULL;
ALTER TABLE immunizations REPLICA IDENTITY FULL;
ALTER TABLE procedures    REPLICA IDENTITY FULL;
ALTER TABLE observations  REPLICA IDENTITY FULL;

CREATE INDEX ON encounters (patient);
CREATE INDEX ON conditions (patient);
CREATE INDEX ON allergies (patient);
CREATE INDEX ON immunizations (patient);
CREATE INDEX ON procedures (patient);
CREATE INDEX ON observations (patient);
CREATE INDEX ON observations (paired) WHERE paired IS NOT NULL;
