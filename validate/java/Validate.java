import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.apache.commons.compress.compressors.gzip.GzipCompressorInputStream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r4.model.Bundle;

/**
 * Validates FHIR R4 JSON with the official HL7 instance validator, as HAPI packages it, without a network.
 *
 * <p>Arguments: {@code --package FILE.tgz} (an implementation guide; repeatable), {@code --valuesets FILE.json} (a Bundle
 * of value sets that the packages name and lack), {@code --threads N} (default: the processors), {@code --warnings}
 * (counts them by kind as well), then files and folders of .json. Prints a line for each error (file, resource, path,
 * message), then how often each kind of message came, then the totals. The exit status is 1 if there was an error, or
 * nothing to validate.
 */
public class Validate {
  private final Map<String, Long> kinds = new TreeMap<>();
  private final boolean countWarnings;
  private long files, resources, errors, warnings;

  private Validate(boolean countWarnings) {
    this.countWarnings = countWarnings;
  }

  public static void main(String[] args) throws Exception {
    List<Path> packages = new ArrayList<>(), valueSets = new ArrayList<>(), inputs = new ArrayList<>();
    int threads = Runtime.getRuntime().availableProcessors();
    boolean countWarnings = false;
    for (int i = 0; i < args.length; i++) {
      switch (args[i]) {
        case "--package" -> packages.add(Path.of(args[++i]));
        case "--valuesets" -> valueSets.add(Path.of(args[++i]));
        case "--threads" -> threads = Integer.parseInt(args[++i]);
        case "--warnings" -> countWarnings = true;
        default -> inputs.add(Path.of(args[i]));
      }
    }
    Validate v = new Validate(countWarnings);
    v.run(inputs, threads, ThreadLocal.withInitial(() -> new Checker(packages, valueSets)));
    System.exit(v.report() ? 0 : 1);
  }

  private record Checked(long resources, List<SingleValidationMessage> messages) {}

  /**
   * A validator and the definitions it reads. Each thread has its own: two threads in one validator now and then end a
   * code's check with a null pointer, which the validator reports as a warning.
   */
  private static class Checker {
    private final FhirContext context = FhirContext.forR4();
    private final PrePopulatedValidationSupport definitions = new PrePopulatedValidationSupport(context);
    private final ObjectMapper json = new ObjectMapper();
    private final FhirValidator validator;

    Checker(List<Path> packages, List<Path> valueSets) {
      try {
        for (Path p : packages) loadPackage(p);
        for (Path p : valueSets) loadBundle(p);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      UnknownCodeSystemWarningValidationSupport unknown = new UnknownCodeSystemWarningValidationSupport(context);
      unknown.setNonExistentCodeSystemSeverity(IssueSeverity.WARNING);
      ValidationSupportChain chain = new ValidationSupportChain(
          definitions, new DefaultProfileValidationSupport(context), new CommonCodeSystemsTerminologyService(context),
          new InMemoryTerminologyServerValidationSupport(context), new SnapshotGeneratingValidationSupport(context), unknown);
      // FHIR: in a required binding one of a concept's codings must be in the value set. HAPI asks it of all of them
      // unless it is told otherwise, and so refuses an NDC that stands beside the RxNorm code of the same drug.
      chain.setCodeableConceptValidationSuccessfulIfNotAllCodingsAreValid(true);
      FhirInstanceValidator instance = new FhirInstanceValidator(chain);
      instance.setAnyExtensionsAllowed(false);
      instance.setErrorForUnknownProfiles(true);
      instance.setNoTerminologyChecks(false);
      validator = context.newValidator().registerValidatorModule(instance);
    }

    /** Takes a package's definitions; its examples, which lie deeper, are not read. */
    private void loadPackage(Path file) throws IOException {
      int n = 0;
      try (InputStream in = new BufferedInputStream(Files.newInputStream(file));
          TarArchiveInputStream tar = new TarArchiveInputStream(new GzipCompressorInputStream(in))) {
        for (TarArchiveEntry e = tar.getNextEntry(); e != null; e = tar.getNextEntry()) {
          if (!e.getName().matches("package/(StructureDefinition|ValueSet|CodeSystem)-[^/]*\\.json")) continue;
          definitions.addResource(context.newJsonParser().parseResource(new String(tar.readAllBytes(), StandardCharsets.UTF_8)));
          n++;
        }
      }
      if (n == 0) throw new IOException(file + ": holds no definitions");
    }

    private void loadBundle(Path file) throws IOException {
      for (Bundle.BundleEntryComponent e : context.newJsonParser().parseResource(Bundle.class, Files.readString(file)).getEntry()) {
        definitions.addResource(e.getResource());
      }
    }

    Checked check(Path file) throws IOException {
      String text = Files.readString(file);
      JsonNode entries = json.readTree(text).path("entry");
      return new Checked(Math.max(1, entries.size()), validator.validateWithResult(text).getMessages());
    }
  }

  private void run(List<Path> inputs, int threads, ThreadLocal<Checker> checker) throws IOException, InterruptedException, ExecutionException {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      List<Path> names = jsonFiles(inputs);
      List<Future<Checked>> results = new ArrayList<>();
      for (Path f : names) results.add(pool.submit(() -> checker.get().check(f)));
      for (int i = 0; i < names.size(); i++) {
        count(names.get(i), results.set(i, null).get());
        if ((i + 1) % 100 == 0) System.err.printf("validate: %d of %d files%n", i + 1, names.size());
      }
    } finally {
      pool.shutdownNow();
    }
  }

  private static List<Path> jsonFiles(List<Path> inputs) throws IOException {
    List<Path> all = new ArrayList<>();
    for (Path in : inputs) {
      try (Stream<Path> s = Files.walk(in)) {
        s.filter(f -> f.toString().endsWith(".json") && Files.isRegularFile(f)).sorted(Comparator.naturalOrder()).forEach(all::add);
      }
    }
    return all;
  }

  private void count(Path file, Checked c) {
    files++;
    resources += c.resources();
    for (SingleValidationMessage m : c.messages()) {
      boolean error = m.getSeverity().ordinal() >= ResultSeverityEnum.ERROR.ordinal() || UNCHECKED.matcher(m.getMessage()).find();
      if (error) {
        errors++;
        System.out.println(file.getFileName() + ": " + place(m.getLocationString()) + ": " + m.getMessage());
      } else if (m.getSeverity() == ResultSeverityEnum.WARNING) {
        warnings++;
      }
      if (error || countWarnings && m.getSeverity() == ResultSeverityEnum.WARNING) {
        kinds.merge((error ? "error   " : "warning ") + kind(m.getMessage()), 1L, Long::sum);
      }
    }
  }

  /**
   * What the validator says, as a warning, when a check of its own ended in an exception. Value sets that filter a code
   * system which no package holds, as those of LOINC, always do: they cannot be judged here.
   */
  private static final Pattern UNCHECKED = Pattern.compile("^Error (?!.*codeSystem. is null).*validating Cod");

  private static final Pattern RESOURCE = Pattern.compile("/\\*([^*]*)\\*/");

  /** The resource of a location that comments name, then the path without the comments. */
  private static String place(String location) {
    if (location == null) return "";
    String resource = "";
    for (Matcher m = RESOURCE.matcher(location); m.find(); ) resource = m.group(1) + " ";
    return resource + RESOURCE.matcher(location).replaceAll("");
  }

  /** A message without what differs from resource to resource. */
  private static String kind(String message) {
    return message.replaceAll("'[^']*'|\"[^\"]*\"|[A-Z][A-Za-z]+/[a-z2-7]{26}|[0-9][0-9a-f.-]{3,}", "#");
  }

  private boolean report() {
    kinds.entrySet().stream().sorted(Map.Entry.<String, Long>comparingByValue().reversed())
        .forEach(e -> System.out.printf("%7d  %s%n", e.getValue(), e.getKey()));
    System.out.printf("%d files, %d resources, %d errors, %d warnings%n", files, resources, errors, warnings);
    if (resources == 0) System.out.println("nothing was validated");
    return errors == 0 && resources > 0;
  }
}
